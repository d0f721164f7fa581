from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from training.data import Images
from training.sampling import draw_rows

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def classes(*sizes: int) -> Images:
    """Images with the given number per class, in random order and without pixels."""
    targets = torch.cat([torch.full((size,), target) for target, size in enumerate(sizes)])
    targets = targets[torch.randperm(len(targets), generator=Generator().manual_seed(0))]
    return Images(torch.empty(len(targets), 0), torch.ones(len(targets)), targets)


def draw(images: Images, count: int, balance: float, seed: int = 0) -> Tensor:
    return draw_rows(images, count, balance, Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("balance", "shares"),
    [
        (1.0, [400 / 525, 100 / 525, 25 / 525]),
        (0.5, [20 / 35, 10 / 35, 5 / 35]),
        (0.0, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_classes_are_drawn_in_proportion_to_size_to_the_power_of_balance(
    balance: float, shares: list[float]
) -> None:
    images = classes(400, 100, 25)
    counts = images.targets[draw(images, 1000, balance)].bincount()
    assert counts.tolist() == [round(1000 * share) for share in shares]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    sizes=SIZES,
    rounds=st.floats(0.5, 4),
    balance=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_all_images_of_a_class_are_drawn_before_any_is_repeated(
    sizes: list[int], rounds: float, balance: float, seed: int
) -> None:
    images = classes(*sizes)
    count = max(2 * len(sizes), round(rounds * sum(sizes)))
    rows = draw(images, count, balance, seed)
    times = rows.bincount(minlength=len(images))
    weights = [size**balance for size in sizes]
    for target, size in enumerate(sizes):
        of_class = times[images.targets == target]
        assert of_class.max() - of_class.min() <= 1
        quota = count * weights[target] / sum(weights)
        assert int(of_class.sum()) == pytest.approx(quota, abs=0.5 + 1e-6)
        assert len(of_class) == size
    assert abs(len(rows) - count) <= len(sizes) / 2


def test_with_balance_1_and_the_full_count_each_image_is_drawn_once() -> None:
    images = classes(7, 30, 2)
    assert draw(images, 39, 1.0).sort().values.tolist() == list(range(39))


def test_the_same_seed_draws_the_same_rows() -> None:
    images = classes(30, 5)
    assert torch.equal(draw(images, 50, 0.5, seed=4), draw(images, 50, 0.5, seed=4))
    assert not torch.equal(draw(images, 50, 0.5, seed=4), draw(images, 50, 0.5, seed=5))


def test_epochs_that_share_a_generator_differ() -> None:
    images, generator = classes(30, 5), Generator().manual_seed(0)
    one, other = (draw_rows(images, 50, 0.5, generator) for _ in range(2))
    assert not torch.equal(one, other)


def test_the_global_random_state_is_not_used() -> None:
    images = classes(30, 5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = draw(images, 50, 0.5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(draw(images, 50, 0.5), one)


def test_classes_are_mixed() -> None:
    """Each tenth of the epoch has images of both classes."""
    images = classes(100, 100)
    for part in images.targets[draw(images, 200, 1.0)].split(20):
        assert 0 < int(part.sum()) < 20


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_a_class_without_images_is_never_drawn(balance: float) -> None:
    images = classes(10, 0, 10)
    assert set(images.targets[draw(images, 40, balance)].tolist()) == {0, 2}


def test_a_share_that_rounds_to_zero_draws_no_rows() -> None:
    assert draw(classes(10, 10, 10), 0, 0.5).tolist() == []
    assert draw(classes(10, 10, 10), 1, 0.5).tolist() == []
