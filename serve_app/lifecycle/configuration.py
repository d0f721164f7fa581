"""Which configuration a start uses: a file, or the last revision that was in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models import registry
from models.errors import ModelsError
from serve_app.control_plane.start import (
    describe_difference,
    last_revisions,
    record_start,
)
from serve_app.deployment import config
from serve_app.deployment.experiments import Experiments
from serve_app.deployment.names import CONTROL_PLANE, DATA_PLANE
from serve_app.deployment.summary import summarize
from serve_app.errors import BadConfig, StartBlocked
from serve_app.files import replacing
from serve_app.home import Home
from serve_app.lifecycle import serve_file
from serve_app.lifecycle.serve_file import ServeFile
from serve_app.lifecycle.welcome import ROOT, cli_command
from serve_app.store.errors import StoreError
from serve_app.store.revisions import Revision
from serve_app.store.store import Store, open_store
from serve_app.yaml_file import dump_yaml

BASE = ROOT / "deploy_configs" / "base.yaml"
STARTED = "started.yaml"  # in the home directory: the configuration of a start without a file


@dataclass(frozen=True, slots=True)
class StartConfiguration:
    """The configuration of a start.

    Attributes:
        document: Its content; None if the file is not of serve-app, and has no revision.
        reason: Why it was chosen, for the audit log.
        sentences: Which one it is, and what a file changes.
    """

    file: ServeFile
    document: dict[str, Any] | None
    reason: str
    sentences: tuple[str, ...] = ()


def choose(path: Path | None, home: Home) -> StartConfiguration:
    """The configuration of a start.

    Args:
        path: A Serve configuration file; None for the last revision that was in force, or else
            `BASE`.

    Raises:
        BadConfig: The file is rejected.
        StartBlocked: The store cannot be read, or the revision cannot be started.
        OSError: The home directory cannot be written.
    """
    file = serve_file.read(path or BASE)
    if not {DATA_PLANE, CONTROL_PLANE} <= set(file.applications):
        return StartConfiguration(file, None, "")
    with _store(home) as store:
        last = last_revisions(store)
    if path is None and last.in_force:
        return _continue(last.in_force, last.later, home)
    document = config.read(file.path)
    _check(document, home)
    name = file.path.name
    sentences: tuple[str, ...] = ()
    if last.in_force and (changes := describe_difference(last.in_force, document)):
        sentences = (
            f"{name} instead of revision {last.in_force.number}, the last one in force:",
            *(f"  {change}" for change in changes),
        )
    return StartConfiguration(file, document, f"up {name}", sentences)


def record(configuration: StartConfiguration, home: Home, actor: str) -> None:
    """Record the start as a revision.

    Raises:
        StartBlocked: The store cannot be written.
    """
    if configuration.document is None:
        return
    with _store(home) as store:
        record_start(store, configuration.document, actor, configuration.reason)


@contextmanager
def _store(home: Home) -> Iterator[Store]:
    """The store, while no Controller runs.

    Raises:
        StartBlocked: The database cannot be used.
    """
    try:
        with closing(open_store(home.database_url)) as store:
            yield store
    except StoreError as exc:
        raise StartBlocked(str(exc)) from exc


def _continue(revision: Revision, later: Iterable[Revision], home: Home) -> StartConfiguration:
    """The configuration of a start with an earlier revision.

    Args:
        later: Revisions after it, which were never in force.

    Raises:
        StartBlocked: The revision cannot be started.
        OSError: The home directory cannot be written.
    """
    try:
        _check(revision.document, home)
    except (BadConfig, ModelsError) as exc:
        raise StartBlocked(
            f"revision {revision.number}, the last one in force, cannot be started: {exc}."
            f" Start a file instead: {cli_command()} up FILE"
        ) from exc
    since = datetime.fromtimestamp((revision.in_force_at_ms or 0) / 1000).astimezone()
    start = (
        f"Starting revision {revision.number}, in force since {since:%Y-%m-%d %H:%M}"
        f" ({revision.actor}: {revision.reason}): {summarize(revision.document).sentence}."
    )
    others = (
        f"Revision {other.number} ({other.actor}: {other.reason}) was never in force;"
        f" serve-app revision restore {other.number} deploys it."
        for other in later
    )
    path = home.path / STARTED
    with replacing(path) as draft:
        draft.write_text(dump_yaml(revision.document), encoding="utf-8")
    reason = f"up with revision {revision.number}"
    return StartConfiguration(serve_file.read(path), revision.document, reason, (start, *others))


def _check(document: dict[str, Any], home: Home) -> None:
    """Check the rule and the pools; Serve would start with a wrong rule, and the last good rule of
    the home directory would be in force.

    Raises:
        BadConfig: The configuration is rejected.
    """
    rule = config.check(document, registry.names(config.registry_folder(document)))
    Experiments(home.folder("experiments")).check(rule)
