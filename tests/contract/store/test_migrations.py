"""Databases of earlier versions keep their rows and sums."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from serve_app.store.revisions import RevisionKind, RevisionState
from serve_app.store.scope import EVERYTHING
from serve_app.store.store import open_store
from tests.factories import batch, exposure
from tests.rows import contents

DOCUMENT = '{"rule":{"kind":"single","stable":"v1"},"version":"v1"}'
RULE = '{"kind":"ab_test","control":"v1","treatment":"v2","experiment":"koala","unit":"user"}'
CONTENT = b"encrypted"
PARAMETERS = {"document": DOCUMENT, "rule": RULE, "content": CONTENT}
FIRST_RELEASE = ["INSERT INTO revisions VALUES (1, 5, 'ada', 'koalas', :document, 'd')"]
# An exposure with its sums, feedback on it, a shadow pair's sum by unit, and an image.
BEFORE_UNITS = [
    "INSERT INTO epochs VALUES (1, 'aaaaaaaa', :rule, 'ab_test', 0, NULL)",
    """INSERT INTO exposures VALUES ('w', 1, 60000, 1, 'r-1', 'aaaaaaaa', 'ab_test', 'split', 'v2',
      'v1', 'ab', NULL, 'AU', 'cat', 0.5, 4.0, 2.0, 'too_slow')""",
    """INSERT INTO exposure_sums VALUES (1, 1, 'aaaaaaaa', 'v2', false, 'AU', 'split', 'cat',
      1, 1, 1, 4.0, 0, 0.0, 0.5)""",
    "INSERT INTO unit_sums VALUES (1, 0, 7, 'v2', 1, 1, 1, 4.0, 0, 0.0)",
    "INSERT INTO first_assignments VALUES ('koala', 7, 60000, 1, 'v2', 'AU')",
    """INSERT INTO labelled_feedback VALUES (1, 60000, 'w', 1, 'aaaaaaaa', 7, 'v2', 'split', 'AU',
      'cat', 61000, 'dog', false, NULL, true)""",
    "INSERT INTO unit_pair_sums VALUES (1, 0, 7, 'AU', 'koala', 3, 2, 1, 3, 9.0, 6.0, 1.0)",
    """INSERT INTO kept_images VALUES ('w', 1, 60000, 1, 'aaaaaaaa', 'AU', 900000, 0.5, 'd', 'v1',
      'dog', 'v2', 'koala', '["koala"]', :content)""",
]


def create_database(url: str, revision: str, statements: list[str]) -> None:
    """Create a database with the schema of a revision."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "serve_app.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            used = {name: value for name, value in PARAMETERS.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
    engine.dispose()


def test_revisions_of_the_first_release_were_in_force(empty_url: str) -> None:
    """They were recorded after they were deployed."""
    create_database(empty_url, "0001_initial", FIRST_RELEASE)
    store = open_store(empty_url)
    (revision,) = store.revisions(10)
    assert (revision.kind, revision.state) == (RevisionKind.DEPLOY, RevisionState.DEPLOYED)
    assert (revision.number, revision.in_force_at_ms) == (1, 5)
    assert revision.document["version"] == "v1"
    store.close()


def test_all_but_the_units_of_earlier_experiments_is_kept(empty_url: str) -> None:
    create_database(empty_url, "0002_control_plane", BEFORE_UNITS)
    store = open_store(empty_url)
    (sums,) = store.exposure_sums(EVERYTHING, by=("assigned", "error"))
    assert (sums.assigned, sums.error, sums.exposures, sums.errors) == ("v2", "", 1, 1)
    feedback = store.labelled_feedback()
    assert feedback.served.texts().tolist() == ["v1"]
    assert feedback.reported_label.texts().tolist() == ["dog"]
    pairs = store.unit_pairs(EVERYTHING, ["cat", "dog"])
    assert (pairs.pairs.tolist(), pairs.new.tolist(), pairs.failed.tolist()) == ([3], [3], [0])
    (image,) = store.kept_images()
    assert (image.unit, image.label) == (0, "koala")
    assert contents(empty_url)["kept_images"][0][-1] == CONTENT
    assert contents(empty_url)["unit_sums"] == contents(empty_url)["first_assignments"] == []
    store.record(batch(exposure(2, writer="w", at_ms=60_000, error="too_slow"), writer="w"))
    assert {row[8]: row[9] for row in contents(empty_url)["exposure_sums"]} == {
        "": 1,
        "too_slow": 1,
    }
    assert len(contents(empty_url)["unit_sums"]) == 1
    store.close()
