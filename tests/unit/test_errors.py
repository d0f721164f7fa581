"""The errors of the package: what HTTP says of them, and that they travel between processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from serve_app import errors
from serve_app.errors import BadConfig, Problem, Rejected, ServeAppError, UnusableImage


def descendants(root: type[ServeAppError]) -> Iterator[type[ServeAppError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from descendants(child)


EVERY = tuple(descendants(ServeAppError))
PROBLEMS = [
    kind for kind in EVERY if issubclass(kind, Problem) and kind not in (Problem, UnusableImage)
]


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.__name__)
def test_a_problem_has_a_status_and_a_code_of_its_own(kind: type[Problem]) -> None:
    assert HTTPStatus(kind.status) >= HTTPStatus.BAD_REQUEST
    assert kind.code != Problem.code
    assert [other for other in PROBLEMS if other.code == kind.code] == [kind]


@pytest.mark.parametrize(
    "error",
    [
        *(kind("what came and what was expected") for kind in EVERY
          if kind not in (BadConfig, UnusableImage, Rejected)),
        BadConfig("rule.stable", "is v9: the registry has v1"),
        UnusableImage("empty_image", "no bytes came"),
        Rejected(422, "the configuration is rejected"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_error_is_the_same_on_the_other_side_of_a_pickle(error: ServeAppError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_the_tree_at_the_top_of_the_module_names_every_error(kind: type[ServeAppError]) -> None:
    assert errors.__doc__ is not None
    (line,) = (row for row in errors.__doc__.splitlines() if f" {kind.__name__} " in f"{row} ")
    if issubclass(kind, Problem) and kind not in (Problem, UnusableImage):
        assert f" {kind.status}" in line
