"""Exports of tables to CSV and Parquet."""

from __future__ import annotations

import csv
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from serve_app.store import export
from serve_app.store.errors import BadExport
from serve_app.store.export import TABLES
from serve_app.store.schema import metadata
from serve_app.store.store import Store
from tests.contract.store.population import Population
from tests.factories import adoption, batch, exposure, feedback, pair
from tests.rows import contents

FORMATS = ("csv", "parquet")
NOT_EXPORTED = {
    "adoptions",
    "ingress_writers",
    "revisions",
    "audit",
    "retention_cutoff",
    "recreations",
}
NOT_EXPORTED |= {"kept_images", "reviews"}  # images of users; reports have the labels


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with rows in every table that can be exported."""
    for one in Population(40, users=5, feedback=0.5, pairs=0.5).batches():
        store.record(one)
    store.record(batch(adoption("b", 1), exposure(100, region=None, model_ms=None)))
    return store


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; values of CSV are texts."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_texts(row: dict[str, Any]) -> dict[str, str]:
    """A row as CSV represents it."""
    texts = {name: "" if value is None else str(value) for name, value in row.items()}
    return {name: {"True": "true", "False": "false"}.get(t, t) for name, t in texts.items()}


def test_all_tables_but_a_known_list_can_be_exported() -> None:
    """Revisions and the audit log have commands; images are not exported."""
    assert set(TABLES) == set(metadata.tables) - NOT_EXPORTED
    assert all(name == table.name for name, (table, _, _) in TABLES.items())


@pytest.mark.parametrize("name", TABLES)
def test_a_file_has_all_rows_of_its_table(
    filled: Store, url: str, tmp_path: Path, name: str
) -> None:
    columns = list(metadata.tables[name].columns.keys())
    rows = [dict(zip(columns, row, strict=True)) for row in contents(url)[name]]
    assert rows
    for suffix in FORMATS:
        path = tmp_path / f"{name}.{suffix}"
        assert filled.export(name, path) == len(rows)
        found = read_rows(path)
        assert [list(row) for row in found] == [columns] * len(rows)
        expected = rows if suffix == "parquet" else [as_texts(row) for row in rows]
        assert sorted(found, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_period_selects_rows(store: Store, tmp_path: Path, suffix: str) -> None:
    minute = 60_000
    store.record(batch(*(exposure(n, at_ms=n * minute) for n in (1, 2, 3, 4))))
    path = tmp_path / f"some.{suffix}"
    for name in ("exposures", "exposure_sums"):
        assert store.export(name, path, since_ms=2 * minute, until_ms=4 * minute) == 2
        assert len(read_rows(path)) == 2


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_export_without_rows_has_its_columns(store: Store, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none.{suffix}"
    assert store.export("feedback", path) == 0
    assert read_rows(path) == []
    assert "answered_at_ms" in str(path.read_bytes())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_texts_that_look_like_formulas_are_escaped_in_csv(
    store: Store, tmp_path: Path, start: str
) -> None:
    formula = f'{start}HYPERLINK("http://a.example","b")'
    store.record(
        batch(exposure(1, request_id=formula, latency_ms=4.0), feedback(-5, label=formula))
    )
    store.export("exposures", tmp_path / "e.csv")
    store.export("feedback", tmp_path / "f.csv")
    assert read_rows(tmp_path / "e.csv")[0]["request_id"] == f"'{formula}"
    (row,) = read_rows(tmp_path / "f.csv")
    assert (row["label"], row["at_ms"]) == (f"'{formula}", "-5")
    store.export("exposures", tmp_path / "e.parquet")
    assert read_rows(tmp_path / "e.parquet")[0]["request_id"] == formula


def test_quotes_and_line_breaks_are_preserved(store: Store, tmp_path: Path) -> None:
    odd = 'a "cat",\n\u2028 Käfer'
    store.record(batch(feedback(5, label=odd)))
    store.export("feedback", tmp_path / "f.csv")
    assert read_rows(tmp_path / "f.csv")[0]["label"] == odd


def test_an_export_is_private_and_replaces_an_existing_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("before")
    store.record(batch(pair(1)))
    store.export("shadow_pairs", path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [row["candidate"] for row in read_rows(path)] == ["v2"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_failed_export_leaves_the_existing_file(
    store: Store, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / f"pairs.{suffix}").write_text("before")

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(export, f"_write_{suffix}", fail)
    with pytest.raises(OSError, match="no space left"):
        store.export("shadow_pairs", folder / f"pairs.{suffix}")
    assert [path.read_text() for path in folder.iterdir()] == ["before"]


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("users", "users.csv", "no table users: expected one of exposures, "),
        ("audit", "audit.csv", "no table audit"),
        ("epochs", "epochs.xlsx", r"epochs\.xlsx is neither"),
        ("epochs", "epochs", "epochs is neither"),
    ],
)
def test_an_unknown_table_or_format_is_rejected(
    store: Store, tmp_path: Path, name: str, file: str, message: str
) -> None:
    with pytest.raises(BadExport, match=message):
        store.export(name, tmp_path / file)


def test_parquet_without_pyarrow_is_an_error_with_the_package_to_install(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    target = tmp_path / "exports"
    target.mkdir()
    with pytest.raises(BadExport, match=r"pip install 'serve-app\[export\]'"):
        store.export("epochs", target / "epochs.parquet")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_memory_does_not_grow_with_the_number_of_rows(
    store: Store, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 chunks of rows need less than twice the memory of 3 chunks."""
    monkeypatch.setattr(export, "CHUNK_ROWS", 100)

    def peak() -> int:
        tracemalloc.start()
        store.export("exposures", tmp_path / f"many.{suffix}")
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    batches = list(Population(2_000, batch_size=300).batches())
    store.record(batches[0])
    peak()
    few = peak()
    for one in batches[1:]:
        store.record(one)
    assert peak() < 2 * few
