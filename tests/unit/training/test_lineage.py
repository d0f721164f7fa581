from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from models.cnn import SmallCNN
from training.errors import TrainingError
from training.lineage import HEAD, grown

WIDTHS, DEPTHS = (8, 16), (1, 1)


@pytest.fixture(scope="module")
def parent() -> SmallCNN:
    """Of two labels, with statistics and a bias that are not the initial ones."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = SmallCNN(2, WIDTHS, DEPTHS)
        torch.nn.init.normal_(network.head.bias)
        with torch.no_grad():
            network(torch.rand(8, 3, 32, 32) * 255)
    return network.eval()


def child(parent: SmallCNN, *labels: str) -> SmallCNN:
    network = SmallCNN(len(labels), WIDTHS, DEPTHS)
    network.load_state_dict(grown(parent.state_dict(), ("cat", "dog"), labels))
    return network.eval()


def noise(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("labels", [("cat", "dog", "koala"), ("cat", "dog", "koala", "ant")])
def test_everything_of_the_parent_is_carried_over_bit_for_bit(
    parent: SmallCNN, labels: tuple[str, ...]
) -> None:
    weights = parent.state_dict()
    taken = grown(weights, ("cat", "dog"), labels)
    assert taken.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(taken[name][:2] if name in HEAD else taken[name], value)
        assert taken[name].dtype == value.dtype


def test_a_new_row_is_the_mean_of_the_old_ones_with_a_lower_bias(parent: SmallCNN) -> None:
    weights = parent.state_dict()
    taken = grown(weights, ("cat", "dog"), ("cat", "dog", "koala", "ant"))
    for row in (2, 3):
        torch.testing.assert_close(taken["head.weight"][row], weights["head.weight"].mean(dim=0))
        torch.testing.assert_close(taken["head.bias"][row], weights["head.bias"].mean() - 1)


def test_the_parents_weights_are_left_as_they_were(parent: SmallCNN) -> None:
    before = {name: value.clone() for name, value in parent.state_dict().items()}
    taken = grown(parent.state_dict(), ("cat", "dog"), ("cat", "dog", "koala"))
    taken["head.weight"].zero_()
    assert all(torch.equal(value, before[name]) for name, value in parent.state_dict().items())


def test_the_child_answers_as_its_parent_until_it_learns(parent: SmallCNN) -> None:
    """And it gives the parent's logits for the parent's labels."""
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
def test_no_new_label_ever_wins_at_first(seed: int, old: int, new: int, scale: float) -> None:
    """Its logit is the mean of the others less 1, whatever the features."""
    chance = Generator().manual_seed(seed)
    head = {
        "head.weight": torch.randn(old, 5, generator=chance, dtype=torch.float64) * scale,
        "head.bias": torch.randn(old, generator=chance, dtype=torch.float64) * scale,
    }
    labels = [str(number) for number in range(old + new)]
    taken = grown(head, labels[:old], labels)
    features = torch.randn(50, 5, generator=chance, dtype=torch.float64) * scale
    logits = features @ taken["head.weight"].T + taken["head.bias"]
    assert (logits[:, old:].amax(dim=1) < logits[:, :old].amax(dim=1)).all()


def test_the_same_labels_change_nothing(parent: SmallCNN) -> None:
    weights = parent.state_dict()
    taken = grown(weights, ("cat", "dog"), ("cat", "dog"))
    assert all(torch.equal(taken[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    "labels",
    [("dog", "cat", "koala"), ("koala", "cat", "dog"), ("cat", "koala", "dog"), ("cat",), ()],
)
def test_labels_that_do_not_begin_with_the_parents_are_rejected(
    parent: SmallCNN, labels: tuple[str, ...]
) -> None:
    text = f"^labels are {', '.join(labels)}; they must begin with the parent's, cat, dog$"
    with pytest.raises(TrainingError, match=text):
        grown(parent.state_dict(), ("cat", "dog"), labels)
