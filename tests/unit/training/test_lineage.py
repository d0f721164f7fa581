from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from models.cnn import SmallCNN
from training.errors import TrainingError
from training.lineage import HEAD, grow_head

WIDTHS, DEPTHS = (8, 16), (1, 1)


@pytest.fixture(scope="module")
def parent() -> SmallCNN:
    """A network with two labels and non-initial batch statistics and head bias."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = SmallCNN(2, WIDTHS, DEPTHS)
        torch.nn.init.normal_(network.head.bias)
        with torch.no_grad():
            network(torch.rand(8, 3, 32, 32) * 255)
    return network.eval()


def child(parent: SmallCNN, *labels: str) -> SmallCNN:
    network = SmallCNN(len(labels), WIDTHS, DEPTHS)
    network.load_state_dict(grow_head(parent.state_dict(), ("cat", "dog"), labels))
    return network.eval()


def noise(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("labels", [("cat", "dog", "koala"), ("cat", "dog", "koala", "ant")])
def test_the_parents_weights_are_copied_exactly(parent: SmallCNN, labels: tuple[str, ...]) -> None:
    weights = parent.state_dict()
    child_weights = grow_head(weights, ("cat", "dog"), labels)
    assert child_weights.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(child_weights[name][:2] if name in HEAD else child_weights[name], value)
        assert child_weights[name].dtype == value.dtype


def test_a_new_row_is_the_mean_of_the_parents_rows_with_a_lower_bias(parent: SmallCNN) -> None:
    weights = parent.state_dict()
    child_weights = grow_head(weights, ("cat", "dog"), ("cat", "dog", "koala", "ant"))
    for row in (2, 3):
        torch.testing.assert_close(
            child_weights["head.weight"][row], weights["head.weight"].mean(dim=0)
        )
        torch.testing.assert_close(child_weights["head.bias"][row], weights["head.bias"].mean() - 1)


def test_the_parents_weights_are_not_modified(parent: SmallCNN) -> None:
    before = {name: value.clone() for name, value in parent.state_dict().items()}
    child_weights = grow_head(parent.state_dict(), ("cat", "dog"), ("cat", "dog", "koala"))
    child_weights["head.weight"].zero_()
    assert all(torch.equal(value, before[name]) for name, value in parent.state_dict().items())


def test_the_untrained_child_predicts_the_same_as_its_parent(parent: SmallCNN) -> None:
    """Its logits for the parent's labels are equal to the parent's."""
    pixels = noise(64)
    with torch.inference_mode():
        old, new = parent(pixels), child(parent, "cat", "dog", "koala")(pixels)
    torch.testing.assert_close(new[:, :2], old, atol=1e-6, rtol=1e-6)
    assert torch.equal(new.argmax(dim=1), old.argmax(dim=1))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    seed=st.integers(0, 10_000), old=st.integers(2, 6), new=st.integers(1, 3),
    scale=st.sampled_from([0.01, 1.0, 100.0]),
)  # fmt: skip
def test_the_untrained_child_never_predicts_a_new_label(
    seed: int, old: int, new: int, scale: float
) -> None:
    """A new logit is the mean of the parent's logits minus 1, for any features."""
    generator = Generator().manual_seed(seed)
    head = {
        "head.weight": torch.randn(old, 5, generator=generator, dtype=torch.float64) * scale,
        "head.bias": torch.randn(old, generator=generator, dtype=torch.float64) * scale,
    }
    labels = [str(number) for number in range(old + new)]
    child_weights = grow_head(head, labels[:old], labels)
    features = torch.randn(50, 5, generator=generator, dtype=torch.float64) * scale
    logits = features @ child_weights["head.weight"].T + child_weights["head.bias"]
    assert (logits[:, old:].amax(dim=1) < logits[:, :old].amax(dim=1)).all()


def test_the_same_labels_keep_the_weights(parent: SmallCNN) -> None:
    weights = parent.state_dict()
    child_weights = grow_head(weights, ("cat", "dog"), ("cat", "dog"))
    assert all(torch.equal(child_weights[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    "labels",
    [("dog", "cat", "koala"), ("koala", "cat", "dog"), ("cat", "koala", "dog"), ("cat",), ()],
)
def test_labels_that_do_not_start_with_the_parents_are_rejected(
    parent: SmallCNN, labels: tuple[str, ...]
) -> None:
    text = f"^labels are {', '.join(labels)}; they must start with the parent's, cat, dog$"
    with pytest.raises(TrainingError, match=text):
        grow_head(parent.state_dict(), ("cat", "dog"), labels)
