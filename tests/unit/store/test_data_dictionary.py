from __future__ import annotations

from serve_app.store import data_dictionary
from serve_app.store.export import TABLES

COLUMNS = {(name, column.name) for name, (table, _, _) in TABLES.items() for column in table.c}


def test_every_exported_column_is_described() -> None:
    assert all(data_dictionary.meaning(table, column) for table, column in COLUMNS)
    assert set(data_dictionary.TABLES) == set(TABLES)


def test_only_exported_columns_are_described() -> None:
    names = {column for _, column in COLUMNS} | {f"{table}.{column}" for table, column in COLUMNS}
    assert set(data_dictionary.COLUMNS) - names == set()
