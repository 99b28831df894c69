"""Parquet: columns in groups of rows (https://parquet.apache.org), read a thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...core.data.files import require_file
from ...core.data.tables import ROWS_AT_ONCE, coded_columns_of, table_rows, tell_names
from ...core.errors import DataError
from ...core.hookspecs import hookimpl
from ...core.source import Source, SourceRow


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [Parquet]


class Parquet(Source):
    """One Parquet file."""

    name = "parquet"
    suffixes = (".parquet", ".pq")

    def rows(self, place: str) -> Iterator[SourceRow]:
        """Every row, by its number. Raises DataError for what is no Parquet file."""
        return _rows(_open(Path(place)))

    def guess(self, place: str) -> str | None:
        return tell_names(coded_columns_of(_open(Path(place)).schema_arrow))


def _open(path: Path) -> pq.ParquetFile:
    require_file(path)
    try:
        # Mapped and buffered: of a group of any size only what is being read is in memory.
        return pq.ParquetFile(path, memory_map=True, buffer_size=2**20)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file, or a damaged one: {error}") from None


def _rows(file: pq.ParquetFile) -> Iterator[SourceRow]:
    first = 1
    with file:
        for group in range(file.num_row_groups):
            yield from _group_rows(file, group, first)
            first += file.metadata.row_group(group).num_rows


def _group_rows(file: pq.ParquetFile, group: int, first: int) -> Iterator[SourceRow]:
    """Where a group is damaged, its remaining rows are faulty: each is counted, the other groups are read."""
    end = first + file.metadata.row_group(group).num_rows
    number = first
    coded = coded_columns_of(file.schema_arrow)
    try:
        for row in table_rows(file.iter_batches(ROWS_AT_ONCE, row_groups=[group]), coded, first):
            yield row
            number = row.line + 1
    except (pa.ArrowException, OSError) as error:
        fault = f"group {group + 1} of the rows is damaged: {error}"
        yield from (SourceRow(line, fault=fault) for line in range(number, end))
