"""Sets rules for a while: the revision that was in force before is restored at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import typer

from models import registry as registries
from models.card import Faults
from models.errors import BadVersion
from models.faults import publish_test_version, remove_test_version
from serve_app.cli.changing import new_change
from serve_app.cli.options import console, say, warn
from serve_app.cli.progress import clock
from serve_app.cli.report import ab_test, canary, shadow
from serve_app.cli.waiting import wait_until_in_force
from serve_app.client import Client
from serve_app.control_plane.changes import ConfigChange, Restore, SetRule, Update
from serve_app.deployment import config
from serve_app.durations import duration_ms
from serve_app.errors import DeployFailed, ServeAppError
from serve_app.rules.ab_test import ABTest
from serve_app.rules.parse import read_rule
from serve_app.rules.registry import KINDS
from serve_app.rules.rule import Rule
from serve_app.rules.split import Split

RECORDING_S = 3.0  # until what was sent is in the store
REPORTS = {"canary": canary, "ab": ab_test, "shadow": shadow}


class Trial:
    """A series of changes of a running service that ends where it began.

    Attributes:
        before: The number of the revision in force before.

    Raises:
        DeployFailed: There is no such revision.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        number = client.status()["revision"]
        if number is None:
            raise DeployFailed("no revision is deployed: start the service, or deploy a file")
        self._last = self.before = int(number)
        self._made: list[str] = []

    def ask(self, rule: dict[str, Any], *, yes: bool) -> None:
        """Say what the rule will replace; ask on a terminal if that is more than one version.

        Raises:
            typer.Abort: The change is not confirmed.
        """
        revision = self._client.revision(self.before)
        sentence = revision["rule"]["sentence"]
        say(f"In force is revision {self.before}: {sentence}. It is restored at the end.")
        preview = self._client.preview(_set_rule(rule, "preview"))
        reasons = list(preview["confirmations"])
        if revision["rule"]["kind"] != "single":
            reasons.insert(0, f"the experiment in force pauses: {sentence}")
        if reasons and not yes and sys.stdin.isatty():
            typer.confirm(f"{'; '.join(reasons)}. Continue?", abort=True)

    def set_rule(self, rule: dict[str, Any], reason: str) -> None:
        """Set a rule, and wait until it is in force."""
        self._apply(_set_rule(rule, reason))

    def update(self, version: str, reason: str) -> None:
        """Serve all users with a version, replica by replica, and wait until it is in force."""
        self._apply(new_change(Update, reason, version=version, method="rolling"))

    def add_test_version(self, source: str, name: str, faults: Faults) -> None:
        """Publish a test version for the time of the trial, unless the registry has it.

        Raises:
            BadVersion: The registry of the service is elsewhere, or has another version of the
                name.
        """
        document = self._client.revision(self.before)["document"]
        registry = config.registry_folder(document)
        if name in registries.names(registry):
            card = registries.load(name, registry).card
            if card.faults != faults or not card.parent or card.parent.version != source:
                raise BadVersion(
                    f"{registry / name} is not the test version that this needs ({source},"
                    f" {faults.sentence()}): if it is a test version, remove it with serve-app"
                    f" models remove {name}"
                )
            return
        publish_test_version(registries.load(source, registry), name, faults, registry)
        self._made.append(name)
        say(f"Published the test version {name}: {source} with faults ({faults.sentence()})")

    def restore(self) -> None:
        """Restore the revision of before, and remove the test versions; says so.

        If another change was made meanwhile, nothing is restored.
        """
        command = f"serve-app revision restore {self.before}"
        try:
            if self._last != self.before:
                say(f"Restoring revision {self.before}")
                change = new_change(Restore, "the end of a trial", revision=self.before)
                self._apply(change.model_copy(update={"base_revision": self._last}))
            self._remove_test_versions()
        except (ServeAppError, KeyboardInterrupt) as exc:
            warn([f"revision {self.before} is not restored ({exc or 'interrupted'}): {command}"])

    def keep(self) -> None:
        """Leave the last rule in force; says how to restore."""
        say(f"The rule stays in force. To restore: serve-app revision restore {self.before}")
        for name in self._made:
            say(f"Then remove the test version: serve-app models remove {name}")

    def report(self, name: str, experiment: str) -> dict[str, Any]:
        """The report on an experiment."""
        return self._client.report(name, {"experiment": experiment})

    def _apply(self, change: ConfigChange) -> None:
        applied = self._client.apply(change)
        self._last = int(applied["revision"])
        wait_until_in_force(self._client, self._last)

    def _remove_test_versions(self) -> None:
        document = self._client.revision(self.before)["document"]
        for name in self._made:
            remove_test_version(name, config.registry_folder(document))
            say(f"Removed the test version {name}")


@contextlib.contextmanager
def restoring(client: Client, *, keep: bool = False) -> Iterator[Trial]:
    """A trial that is restored at the end, also after an error or Ctrl-C.

    Args:
        keep: Leave the last rule in force if nothing went wrong.
    """
    trial = Trial(client)
    try:
        yield trial
    except BaseException:
        trial.restore()
        raise
    if keep:
        trial.keep()
    else:
        trial.restore()


def named_anew(rule: dict[str, Any], at_s: float) -> dict[str, Any]:
    """The rule with an experiment of its own for this run: a name that is used again continues the
    experiment of before.

    Args:
        at_s: The present time, in seconds since the epoch.
    """
    name = rule.get("experiment", rule["kind"].replace("_", "-"))
    return rule | {"experiment": f"{name}-{time.strftime('%m%d-%H%M%S', time.gmtime(at_s))}"}


def wait_until_settled(content: dict[str, Any]) -> None:
    """Wait until all that was sent under a rule counts in its report, with a clock on stderr."""
    wait_s = settle_s(read_rule(content)) + RECORDING_S
    ends_s = time.monotonic() + wait_s
    text = f"waiting {wait_s:.0f} s, until what was sent counts in the report"
    if not sys.stderr.isatty():
        typer.echo(text, err=True)
    with clock(text):
        time.sleep(max(ends_s - time.monotonic(), 0))


def settle_s(rule: Rule) -> float:
    """How long after an exposure it counts in the report of a rule, in seconds."""
    ages = [rule.settle] if isinstance(rule, Split) else []
    if isinstance(rule, ABTest):
        # Requests count by whole minutes.
        ages = ["1m" if rule.unit == "request" else rule.settle, rule.outcome.window]
    return sum(map(duration_ms, ages)) / 1000


def show_report(trial: Trial, rule: dict[str, Any]) -> dict[str, Any]:
    """Print the report on the experiment of a rule; its JSON."""
    name = KINDS[rule["kind"]].report
    report = trial.report(name, rule["experiment"])
    REPORTS[name].show(console(), report)
    return report


def _set_rule(rule: dict[str, Any], reason: str) -> ConfigChange:
    return new_change(SetRule, reason, rule=rule, change_stable=True)
