"""Which configuration `serve-app up` starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.registry import SHIPPED
from serve_app.deployment import config
from serve_app.deployment.apply_rule import with_rule
from serve_app.errors import BadConfig, StartBlocked
from serve_app.home import DATABASE_VARIABLE, Home
from serve_app.lifecycle import configuration, serve_file
from serve_app.lifecycle.configuration import BASE, STARTED, StartConfiguration
from serve_app.rules.parse import read_rule
from serve_app.store.recreations import Phase
from serve_app.store.revisions import NewRevision, RevisionKind, RevisionState
from serve_app.store.store import Store, open_store
from tests.unit.service import PARALLEL, SINGLE

IN_FORCE_AT_MS = 1_700_000_000_000
FOREIGN = "applications: [{name: other, import_path: other:app}]\n"


@pytest.fixture
def store(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of the home directory."""
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    store = open_store(home.database_url)
    yield store
    store.close()


def document(**rule: Any) -> dict[str, Any]:
    """The base file with another rule."""
    content = SINGLE | rule
    return with_rule(config.read(BASE), content, read_rule(content))


def add_revision(
    store: Store, content: dict[str, Any], reason: str, in_force_at_ms: int | None = None
) -> int:
    """Add a deployed revision by anna."""
    new = NewRevision(RevisionKind.DEPLOY, content, "anna", reason, RevisionState.DEPLOYED)
    number = store.add_revision(new, IN_FORCE_AT_MS)
    if in_force_at_ms is not None:
        store.set_in_force(number, in_force_at_ms)
    return number


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def started_document(chosen: StartConfiguration) -> Any:
    """The content of the file that Serve gets."""
    return yaml.safe_load(chosen.file.path.read_text())


def start(path: Path | None, home: Home) -> StartConfiguration:
    """Choose a configuration and record its start."""
    chosen = configuration.choose(path, home)
    configuration.record(chosen, home, "root")
    return chosen


class TestWithoutAFile:
    def test_a_new_home_starts_the_base_file(self, home: Home, store: Store) -> None:
        chosen = start(None, home)
        assert (chosen.file.path, chosen.sentences) == (BASE, ())
        (revision,) = store.revisions(10)
        assert (revision.kind, revision.state) == (RevisionKind.START, RevisionState.DEPLOYED)
        assert (revision.actor, revision.reason) == ("root", "up base.yaml")
        assert revision.document == config.read(BASE)
        (entry,) = store.audit(10)
        assert (entry.action, entry.reason, entry.details) == (
            "start",
            "up base.yaml",
            {"revision": 1},
        )

    def test_a_revision_that_was_in_force_is_continued(self, home: Home, store: Store) -> None:
        start(None, home)
        add_revision(store, document(stable="v2"), "koalas", IN_FORCE_AT_MS)
        chosen = start(None, home)
        since = datetime.fromtimestamp(IN_FORCE_AT_MS / 1000).strftime("%Y-%m-%d %H:%M")
        assert chosen.sentences == (
            f"Starting revision 2, in force since {since} (anna: koalas): all requests get v2.",
        )
        assert chosen.file.path == home.path / STARTED
        assert started_document(chosen) == document(stable="v2")
        assert [revision.number for revision in store.revisions(10)] == [2, 1]
        assert store.audit(1)[0].reason == "up with revision 2"

    def test_a_later_revision_that_was_never_in_force_is_named(
        self, home: Home, store: Store
    ) -> None:
        add_revision(store, document(stable="v2"), "koalas", IN_FORCE_AT_MS)
        add_revision(store, document(**PARALLEL | {"candidate": "v9"}), "typo")
        chosen = start(None, home)
        assert chosen.sentences[1:] == (
            "Revision 2 (anna: typo) was never in force; serve-app revision restore 2 deploys it.",
        )
        assert started_document(chosen) == document(stable="v2")
        assert store.revisions(1)[0].document == document(stable="v2")  # a new revision

    def test_revisions_that_were_never_in_force_are_not_continued(
        self, home: Home, store: Store
    ) -> None:
        add_revision(store, document(stable="v2"), "too early")
        assert configuration.choose(None, home).file.path == BASE

    def test_a_configuration_without_the_data_plane_is_not_continued(
        self, home: Home, store: Store
    ) -> None:
        """As during a recreation, or after `serve shutdown`."""
        add_revision(store, document(stable="v2"), "koalas", IN_FORCE_AT_MS)
        add_revision(store, {"applications": []}, "deleted", IN_FORCE_AT_MS)
        assert started_document(configuration.choose(None, home)) == document(stable="v2")

    @pytest.mark.parametrize(
        ("registry", "cause"),
        [
            (SHIPPED, "rule.stable is v9: the registry has v1, v2"),
            (Path("/none"), "the registry /none is not a folder"),
        ],
    )
    def test_a_revision_whose_version_is_gone_cannot_be_started(
        self, home: Home, store: Store, registry: Path, cause: str
    ) -> None:
        gone = document(stable="v9")
        gone["applications"][0]["args"] = {"registry": str(registry)}
        add_revision(store, gone, "v9 was deleted", IN_FORCE_AT_MS)
        with pytest.raises(StartBlocked) as caught:
            configuration.choose(None, home)
        start, _, hint = str(caught.value).partition(" Start a file instead: ")
        assert start.startswith(f"revision 1, the last one in force, cannot be started: {cause}")
        assert hint.endswith(" up FILE")
        assert configuration.choose(BASE, home).file.path == BASE


class TestWithAFile:
    def test_it_says_what_it_changes(self, home: Home, store: Store, tmp_path: Path) -> None:
        add_revision(store, document(stable="v2"), "koalas", IN_FORCE_AT_MS)
        chosen = start(BASE, home)
        assert chosen.sentences == (
            "base.yaml instead of revision 1, the last one in force:",
            "  all users: v2 → v1",
        )
        assert store.revisions(1)[0].reason == "up base.yaml"
        same = write(tmp_path / "same.yaml", document(stable="v2"))
        assert configuration.choose(same, home).sentences == ()

    @pytest.mark.parametrize("rule", [PARALLEL | {"weight": 0.6}, {"stable": "v9"}])
    def test_a_wrong_rule_prevents_the_start(
        self, home: Home, store: Store, tmp_path: Path, rule: dict[str, Any]
    ) -> None:
        """Otherwise the rule of an earlier run would be in force."""
        wrong = config.read(BASE)
        ingress = wrong["applications"][0]["deployments"][0]
        ingress["user_config"]["rule"] = SINGLE | rule
        with pytest.raises(BadConfig, match=r"^rule\.(weight is 0\.6|stable is v9)"):
            configuration.choose(write(tmp_path / "wrong.yaml", wrong), home)

    def test_an_experiment_with_other_terms_prevents_the_start(
        self, home: Home, store: Store, tmp_path: Path
    ) -> None:
        terms = home.folder("experiments") / "koala-canary.json"
        terms.write_text('{"kind": "ab_test"}')
        with pytest.raises(BadConfig, match=r"^rule\.experiment is koala-canary, which was used"):
            configuration.choose(write(tmp_path / "canary.yaml", document(**PARALLEL)), home)

    def test_a_file_of_other_applications_has_no_revision(
        self, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor is the store needed."""
        monkeypatch.setenv(DATABASE_VARIABLE, "postgresql+psycopg://nobody@127.0.0.1:1/none")
        path = tmp_path / "other.yaml"
        path.write_text(FOREIGN)
        assert start(path, home) == StartConfiguration(serve_file.read(path), None, "")


@pytest.mark.parametrize("path", [None, BASE])
def test_a_store_that_cannot_be_read_blocks_the_start(
    home: Home, monkeypatch: pytest.MonkeyPatch, path: Path | None
) -> None:
    """Otherwise all users could change version."""
    monkeypatch.setenv(DATABASE_VARIABLE, f"sqlite:///{home.path}/none/store.db")
    with pytest.raises(StartBlocked, match=r"/none/store\.db"):
        configuration.choose(path, home)


def test_a_store_that_cannot_be_written_blocks_the_start(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = configuration.choose(None, home)
    monkeypatch.setenv(DATABASE_VARIABLE, f"sqlite:///{home.path}/none/store.db")
    with pytest.raises(StartBlocked, match=r"/none/store\.db"):
        configuration.record(chosen, home, "root")


@pytest.mark.parametrize("phase", Phase)
def test_a_recreation_under_way_ends_with_the_service(
    home: Home, store: Store, phase: Phase
) -> None:
    """Otherwise the Controller would continue it, and tear down what has just started."""
    new = NewRevision(RevisionKind.RECREATE, document(stable="v2"), "anna", "koalas")
    recreation = store.start_recreation(new, "v2", IN_FORCE_AT_MS)
    store.save_recreation(replace(recreation, phase=phase), None, IN_FORCE_AT_MS)
    start(BASE, home)
    ended = store.latest_recreation()
    assert ended
    if phase in (Phase.DONE, Phase.FAILED):
        assert (ended.phase, ended.message) == (phase, "")
        return
    assert (ended.phase, ended.message) == (
        Phase.FAILED,
        "the service was stopped during the recreation",
    )
    _, entry = store.audit(2)
    assert (entry.action, entry.actor, entry.reason) == ("recreate", "root", ended.message)
