"""From Arrow tables to rows, a few at a time: what the sources share that read columns, not text.

`datasets` writes some columns in codes and notes their kinds beside them: numbers that stand for names, and
values of several types as JSON. They are read as what they stand for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import pyarrow as pa
from datasets import ClassLabel, Features, Json, LargeList, List

from ..source import SourceRow

ROWS_AT_ONCE = 1000
Table: TypeAlias = pa.Table | pa.RecordBatch
Coded = Mapping[str, Any]


def coded_columns(features: Features | None) -> dict[str, Any]:
    """The columns that are written in codes, with their kinds."""
    return {name: kind for name, kind in (features or {}).items() if _is_coded(kind)}


def coded_columns_of(schema: pa.Schema) -> dict[str, Any]:
    """As `datasets` notes them in the files that it writes."""
    noted = b"huggingface" in (schema.metadata or {})
    return coded_columns(Features.from_arrow_schema(schema)) if noted else {}


def tell_names(coded: Coded) -> str | None:
    """That numbers are read as names, in words for the user."""
    names = [
        f"{name} = {', '.join(kind.names)}" for name, kind in coded.items() if isinstance(kind, ClassLabel)
    ]
    return f"numbers are read as the names they stand for: {'; '.join(names):.300}" if names else None


def table_rows(tables: Iterable[Table], coded: Coded, first: int = 1) -> Iterator[SourceRow]:
    """The rows of the tables, numbered from `first`. A value that cannot be read is its row's own fault."""
    for table in tables:
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            yield from _rows(table.slice(start, ROWS_AT_ONCE), first + start, coded)
        first += table.num_rows


def _rows(table: Table, first: int, coded: Coded) -> list[SourceRow]:
    try:
        rows = table.to_pylist()
        read = [{**row, **_read_codes(row, coded)} for row in rows] if coded else rows
        return [SourceRow(number, row) for number, row in enumerate(read, start=first)]
    except Exception as error:  # such as text that is not UTF-8, or a date that Python does not have
        if table.num_rows == 1:
            return [SourceRow(first, fault=f"cannot be read: {error}")]
    return [row for at in range(table.num_rows) for row in _rows(table.slice(at, 1), first + at, coded)]


def _is_coded(kind: Any) -> bool:
    if isinstance(kind, Mapping):
        return any(map(_is_coded, kind.values()))
    if isinstance(kind, List | LargeList):
        return _is_coded(kind.feature)
    return isinstance(kind, ClassLabel | Json)


def _read_codes(row: Mapping[str, Any], coded: Coded) -> dict[str, Any]:
    return {name: _read_code(row[name], kind) for name, kind in coded.items() if name in row}


def _read_code(value: Any, kind: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, ClassLabel):  # -1 stands for no class
        return kind.names[value] if 0 <= value < len(kind.names) else None
    if isinstance(kind, Json):
        return json.loads(value)
    if isinstance(kind, Mapping):
        return {name: _read_code(each, kind[name]) for name, each in value.items()}
    if isinstance(kind, List | LargeList):
        return [_read_code(each, kind.feature) for each in value]
    return value
