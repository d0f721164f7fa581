"""The terms of each experiment name: kind, versions, unit, age, and the outcome of an A/B test.

The name salts the buckets and labels the records: reused under other terms, it would give the same
users the same side again and mix the records of two experiments.
"""

from __future__ import annotations

import json
from pathlib import Path

from serve_app.errors import BadConfig
from serve_app.files import creating, sync
from serve_app.rules.rule import Rule


class Experiments:
    """A folder with one JSON file for each experiment name that was used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, rule: Rule) -> None:
        """Check that a rule's experiment name is new, or was used with the same terms.

        Raises:
            BadConfig: The name was used with other terms.
        """
        experiment = rule.experiment_terms
        if experiment is None:
            return
        terms = self._read_terms(experiment.name)
        if any(experiment.terms.get(key) != value for key, value in terms.items()):
            used = ", ".join(f"{key} {_format_term(terms[key])}" for key in terms)
            raise BadConfig(
                "rule.experiment",
                f"is {experiment.name}, which was used with {used}: choose a new name",
            )

    def claim(self, rule: Rule) -> None:
        """Fix the terms of a rule's experiment; several processes may do so at the same time.

        Raises:
            BadConfig: The name was used with other terms.
            OSError: The folder cannot be written.
        """
        experiment = rule.experiment_terms
        if experiment is None:
            return
        path = self._path(experiment.name)
        if not path.exists():
            with creating(path) as draft:
                draft.write_text(json.dumps(experiment.terms))
                sync(draft)
        self.check(rule)

    def _read_terms(self, name: str) -> dict[str, object]:
        """The fixed terms of a name; empty if the name is new."""
        try:
            terms: dict[str, object] = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            return {}
        return terms

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _format_term(term: object) -> str:
    match term:
        case list():
            return " and ".join(term)
        case dict():
            return " and ".join(f"{key} {value}" for key, value in term.items())
        case _:
            return str(term)
