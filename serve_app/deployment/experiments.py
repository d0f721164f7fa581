"""Which experiments there were: a name stands for one kind, one pair of versions, one unit, and
what decides an A/B test.

Under other terms the same name would put the same users on one side again, and mix their records.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from serve_app.errors import BadConfig
from serve_app.rules.rule import Rule


class Experiments:
    """A folder with a JSON file for each name that was ever used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, rule: Rule) -> None:
        """Pass a rule whose experiment is new, or has the terms that it has had.

        Raises:
            BadConfig: It had others.
        """
        experiment = rule.experiment_terms
        if experiment is None:
            return
        terms = self._terms(experiment.name)
        if any(experiment.terms.get(key) != value for key, value in terms.items()):
            was = ", ".join(f"{key} {_words(terms[key])}" for key in terms)
            raise BadConfig(
                "rule.experiment",
                f"is {experiment.name}, which was used with {was}: take a new name",
            )

    def claim(self, rule: Rule) -> None:
        """Fix the terms of a rule's experiment; several processes may do so at once.

        Raises:
            BadConfig: See `check`.
            OSError: The folder cannot be written.
        """
        experiment = rule.experiment_terms
        if experiment is None:
            return
        path = self._path(experiment.name)
        if not path.exists():
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            with open(draft, "w") as file:
                json.dump(experiment.terms, file)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # unlike a rename, the first one stays
                os.link(draft, path)
            draft.unlink()
        self.check(rule)

    def _terms(self, name: str) -> dict[str, object]:
        """Those that are fixed: none, if the name is new."""
        try:
            terms: dict[str, object] = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            return {}
        return terms

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _words(term: object) -> str:
    match term:
        case list():
            return " and ".join(term)
        case dict():
            return " and ".join(f"{key} {value}" for key, value in term.items())
        case _:
            return str(term)
