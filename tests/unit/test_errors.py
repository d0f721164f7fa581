"""Tests of the errors: HTTP status and code, docstring, pickling."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from serve_app import errors
from serve_app.errors import BadConfig, Problem, Rejected, ServeAppError, UnusableImage


def subclasses(root: type[ServeAppError]) -> Iterator[type[ServeAppError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from subclasses(child)


ERRORS = tuple(subclasses(ServeAppError))
PROBLEMS = [
    kind for kind in ERRORS if issubclass(kind, Problem) and kind not in (Problem, UnusableImage)
]


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.__name__)
def test_a_problem_has_a_status_and_a_unique_code(kind: type[Problem]) -> None:
    assert HTTPStatus(kind.status) >= HTTPStatus.BAD_REQUEST
    assert kind.code != Problem.code
    assert [other for other in PROBLEMS if other.code == kind.code] == [kind]


@pytest.mark.parametrize(
    "error",
    [
        *(kind("what was received and what was expected") for kind in ERRORS
          if kind not in (BadConfig, UnusableImage, Rejected)),
        BadConfig("rule.stable", "is v9: the registry has v1"),
        UnusableImage("empty_image", "the file is empty"),
        Rejected(422, "the configuration is rejected"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_survive_pickling(error: ServeAppError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_has_a_docstring(kind: type[ServeAppError]) -> None:
    assert kind.__doc__
