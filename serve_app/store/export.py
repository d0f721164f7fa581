"""Exports of tables to CSV or Parquet, in chunks of `CHUNK_ROWS` rows.

An export is one read transaction, and so one snapshot of the database.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Float, Integer, Row, Table, select

from serve_app.clock import DAY_MS, MINUTE_MS
from serve_app.files import replacing
from serve_app.store import schema
from serve_app.store.errors import BadExport

CHUNK_ROWS = 10_000

# Name -> table, its time column, and the unit of that column in milliseconds.
TABLES: dict[str, tuple[Table, str, int]] = {
    "exposures": (schema.exposures, "at_ms", 1),
    "shadow_pairs": (schema.shadow_pairs, "at_ms", 1),
    "feedback": (schema.feedback, "at_ms", 1),
    "labelled_feedback": (schema.labelled_feedback, "at_ms", 1),
    "epochs": (schema.epochs, "started_at_ms", 1),
    "exposure_sums": (schema.exposure_sums, "minute", MINUTE_MS),
    "latency_sums": (schema.latency_sums, "minute", MINUTE_MS),
    "unit_sums": (schema.unit_sums, "from_ms", 1),
    "first_assignments": (schema.first_assignments, "at_ms", 1),
    "pair_sums": (schema.pair_sums, "minute", MINUTE_MS),
    "unit_pair_sums": (schema.unit_pair_sums, "day", DAY_MS),
}

# A spreadsheet takes a text that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def export(
    connection: Connection, name: str, path: Path, since_ms: int | None, until_ms: int | None
) -> int:
    """Write a table to a file, mode 0600; return the number of rows.

    An existing file is replaced when the export is complete.

    Args:
        name: One of `TABLES`.
        path: `*.csv` or `*.parquet`.
        since_ms, until_ms: The period; see `Scope`. The epochs are exported whole.

    Raises:
        BadExport: Unknown table or format, or pyarrow is missing.
        OSError: The file cannot be written.
    """
    if name not in TABLES:
        raise BadExport(f"there is no table {name[:50]}: expected one of {', '.join(TABLES)}")
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(path.suffix)
    if write is None:
        raise BadExport(f"{path.name} is neither *.csv nor *.parquet")
    with replacing(path) as draft:
        return write(draft, TABLES[name][0], _rows(connection, name, since_ms, until_ms))


def _rows(
    connection: Connection, name: str, since_ms: int | None, until_ms: int | None
) -> Iterator[Sequence[Row[Any]]]:
    table, time, unit_ms = TABLES[name]
    query = select(table).order_by(*table.primary_key)
    if table is schema.epochs:  # other tables refer to them
        since_ms = until_ms = None
    if since_ms is not None:
        query = query.where(table.c[time] >= since_ms // unit_ms)
    if until_ms is not None:
        query = query.where(table.c[time] < until_ms // unit_ms)
    result = connection.execution_options(yield_per=CHUNK_ROWS).execute(query)
    yield from result.partitions()


def _write_csv(draft: Path, table: Table, partitions: Iterator[Sequence[Row[Any]]]) -> int:
    """Write RFC 4180 in UTF-8: null is empty, booleans are `true` and `false`.

    A text that a spreadsheet would run as a formula is prefixed with an apostrophe: request ids
    and labels of feedback are untrusted.
    """
    count = 0
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns.keys())
        for rows in partitions:
            writer.writerows([_cell(value) for value in row] for row in rows)
            count += len(rows)
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _write_parquet(draft: Path, table: Table, partitions: Iterator[Sequence[Row[Any]]]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise BadExport("Parquet needs pyarrow: pip install 'serve-app[export]'") from exc

    types = {BigInteger: pa.int64(), Integer: pa.int32(), Float: pa.float64(), Boolean: pa.bool_()}
    columns = pa.schema([(c.name, types.get(type(c.type), pa.string())) for c in table.columns])
    count = 0
    with pq.ParquetWriter(draft, columns) as writer:
        for rows in partitions:
            arrays = [
                pa.array(values, column.type)
                for values, column in zip(zip(*rows, strict=True), columns, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=columns))
            count += len(rows)
    return count
