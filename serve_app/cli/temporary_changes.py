"""Changes a running service for a while, and restores the previous revision at the end."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import typer

from models import registry as registries
from models.card import Faults
from models.errors import BadVersion, ModelsError
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

RECORDING_S = 3.0  # until the store has the requests
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
REPORTS = {"canary": canary, "ab": ab_test, "shadow": shadow}


class TemporaryChanges:
    """A series of changes of a running service that ends with the revision that it began with.

    Attributes:
        before: The number of the previous revision.

    Raises:
        DeployFailed: There is no such revision.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        number = client.status()["revision"]
        if number is None:
            raise DeployFailed("no revision is deployed: start the service, or deploy a file")
        self._last = self.before = int(number)
        self._is_unsure = False  # a change was sent, and its response did not come
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
        """Serve all users with a version, replica by replica, and wait until it is in force.

        It shows no progress, so that it can run while traffic shows its own.
        """
        self._apply(new_change(Update, reason, version=version, method="rolling"), is_quiet=True)

    def add_test_version(self, source: str, name: str, faults: Faults) -> None:
        """Publish a test version until `restore`, unless the registry has it.

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

    def restore(self) -> bool:
        """Restore the previous revision, and remove the test versions; says so.

        If another change was made meanwhile, nothing is restored.

        Returns:
            Whether it succeeded. If not, warnings have the commands that are left to run.
        """
        is_restored = False
        try:
            self._restore_revision()
            is_restored = True
            self._remove_test_versions()
        except (ServeAppError, ModelsError, OSError, KeyboardInterrupt, SystemExit) as exc:
            is_signal = isinstance(exc, KeyboardInterrupt | SystemExit)
            reason = "interrupted" if is_signal else str(exc)
            if not is_restored:
                command = f"serve-app revision restore {self.before}"
                warn([f"revision {self.before} is not restored ({reason}): {command}"])
            warn(
                f"the test version {name} is not removed ({reason}): serve-app models remove {name}"
                for name in self._made
            )
            return False
        return True

    def keep(self) -> None:
        """Leave the last rule in force; says how to restore."""
        say(f"The rule stays in force. To restore: serve-app revision restore {self.before}")
        for name in self._made:
            say(f"Then remove the test version: serve-app models remove {name}")

    def report(self, name: str, experiment: str) -> dict[str, Any]:
        """The report on an experiment."""
        return self._client.report(name, {"experiment": experiment})

    def _apply(self, change: ConfigChange, *, is_quiet: bool = False) -> None:
        self._is_unsure = True
        applied = self._client.apply(change)
        self._last = int(applied["revision"])
        self._is_unsure = False
        wait_until_in_force(self._client, self._last, is_quiet=is_quiet)

    def _restore_revision(self) -> None:
        """
        Raises:
            DeployFailed: Another change was made meanwhile, or see `wait_until_in_force`.
            NotRunning, Rejected: The service does not respond, or rejects the change.
        """
        if self._is_unsure:
            present = self._client.status()["revision"]
            if present not in (self._last, self._last + 1):
                raise DeployFailed(f"revision {present} was deployed in the meantime")
            self._last = present
        if self._last != self.before:
            say(f"Restoring revision {self.before}")
            change = new_change(Restore, "the end of temporary changes", revision=self.before)
            self._apply(change.model_copy(update={"base_revision": self._last}))

    def _remove_test_versions(self) -> None:
        if not self._made:
            return
        registry = config.registry_folder(self._client.revision(self.before)["document"])
        while self._made:
            remove_test_version(self._made[0], registry)
            say(f"Removed the test version {self._made.pop(0)}")


@contextlib.contextmanager
def restoring(client: Client, *, keep: bool = False) -> Iterator[TemporaryChanges]:
    """Changes that are undone at the end, also after an error, Ctrl-C, SIGTERM or SIGHUP.

    Args:
        keep: Leave the last rule in force if nothing went wrong.

    Raises:
        SystemExit: A signal came, with 128 and its number; or the restoration failed, with 1.
    """
    with _exiting_on_signals():
        changes = TemporaryChanges(client)
        try:
            yield changes
        except BaseException:
            changes.restore()
            raise
        if keep:
            changes.keep()
        elif not changes.restore():
            sys.exit(1)


@contextlib.contextmanager
def _exiting_on_signals() -> Iterator[None]:
    def leave(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    previous = {number: signal.signal(number, leave) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def with_new_experiment(rule: dict[str, Any], at_s: float) -> dict[str, Any]:
    """The rule with an experiment of its own for this run: a name that is used again continues the
    previous experiment.

    Args:
        at_s: The present time, in seconds since the epoch.
    """
    name = rule.get("experiment", rule["kind"].replace("_", "-"))
    return rule | {"experiment": f"{name}-{time.strftime('%m%d-%H%M%S', time.gmtime(at_s))}"}


def wait_until_settled(content: dict[str, Any]) -> None:
    """Wait until the report of a rule includes all its requests, with a clock on stderr."""
    wait_s = settle_s(read_rule(content)) + RECORDING_S
    ends_s = time.monotonic() + wait_s
    text = f"waiting {wait_s:.0f} s, until the report includes these requests"
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


def show_report(changes: TemporaryChanges, rule: dict[str, Any]) -> dict[str, Any]:
    """Print the report on the experiment of a rule; its JSON."""
    name = KINDS[rule["kind"]].report
    report = changes.report(name, rule["experiment"])
    REPORTS[name].show(console(), report)
    return report


def _set_rule(rule: dict[str, Any], reason: str) -> ConfigChange:
    return new_change(SetRule, reason, rule=rule, change_stable=True)
