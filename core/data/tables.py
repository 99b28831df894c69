"""From Arrow tables to rows, a few at a time: what the sources share that read columns, not text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Features

from ..method import SourceRow

ROWS_AT_ONCE = 1000
Table = pa.Table | pa.RecordBatch
ClassNames = Mapping[str, Sequence[str]]


def class_names(features: Features | None) -> dict[str, list[str]]:
    """The columns whose numbers stand for names, with these names."""
    return {name: kind.names for name, kind in (features or {}).items() if isinstance(kind, ClassLabel)}


def class_names_of(schema: pa.Schema) -> dict[str, list[str]]:
    """As `datasets` notes them in the files that it writes."""
    noted = b"huggingface" in (schema.metadata or {})
    return class_names(Features.from_arrow_schema(schema)) if noted else {}


def tell_names(names: ClassNames) -> str | None:
    """That numbers are read as names, in words for the user."""
    told = [f"{column} = {', '.join(of)}" for column, of in names.items()]
    return f"numbers are read as the names they stand for: {'; '.join(told):.300}" if told else None


def table_rows(tables: Iterable[Table], names: ClassNames, first: int = 1) -> Iterator[SourceRow]:
    """The rows of the tables, numbered from `first`. A value that cannot be read is its row's own fault."""
    for table in tables:
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            part = table.slice(start, ROWS_AT_ONCE)
            yield from (_named(row, names) for row in _rows(part, first + start))
        first += table.num_rows


def _rows(table: Table, first: int) -> list[SourceRow]:
    try:
        return [SourceRow(number, row) for number, row in enumerate(table.to_pylist(), start=first)]
    except Exception as error:  # such as text that is not UTF-8, or a date that Python does not have
        if table.num_rows == 1:
            return [SourceRow(first, fault=f"cannot be read: {error}")]
    return [row for place in range(table.num_rows) for row in _rows(table.slice(place, 1), first + place)]


def _named(row: SourceRow, names: ClassNames) -> SourceRow:
    if not names or row.fault is not None:
        return row
    words = {column: _name(row.fields.get(column), of) for column, of in names.items()}
    return SourceRow(row.line, {**row.fields, **words})


def _name(number: Any, names: Sequence[str]) -> str | None:
    """`datasets` writes -1, or nothing, where a row has no class."""
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else None
