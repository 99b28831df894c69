"""Arrow: IPC files and streams, and the folders that `datasets` writes with `save_to_disk`.

All are memory-mapped: rows are in memory only while they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from ...core.data.files import require_file
from ...core.data.tables import (
    ROWS_AT_ONCE,
    Coded,
    Table,
    coded_columns,
    coded_columns_of,
    table_rows,
    tell_names,
)
from ...core.errors import DataError
from ...core.hookspecs import hookimpl
from ...core.source import Source, SourceRow

FILE_BEGINS = b"ARROW1"
ONE_SPLIT, SEVERAL_SPLITS = "state.json", "dataset_dict.json"


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [Arrow]


class Arrow(Source):
    """One Arrow file, or one split of a saved data set."""

    name = "arrow"
    suffixes = (".arrow", ".feather", ".ipc")
    folders = (ONE_SPLIT, SEVERAL_SPLITS)

    def rows(self, place: str) -> Iterator[SourceRow]:
        """Every row, by its number. Raises DataError for what is not, or not only, one split of rows."""
        path = Path(place)
        tables, coded = _open(path)
        return _rows(path, tables, coded)

    def guess(self, place: str) -> str | None:
        return tell_names(_open(Path(place))[1])


def _open(path: Path) -> tuple[Iterator[Table], Coded]:
    """The rows in tables of any size, and the columns that are written in codes."""
    try:
        return _open_folder(path) if path.is_dir() else _open_file(path)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} holds no rows that Arrow can read, or is damaged: {error}") from None


def _open_folder(folder: Path) -> tuple[Iterator[Table], Coded]:
    from datasets import Dataset

    if (folder / SEVERAL_SPLITS).is_file():
        splits = sorted(state.parent.name for state in folder.glob(f"*/{ONE_SPLIT}"))
        raise DataError(f"{folder} holds several splits: name the folder of one of {', '.join(splits)}")
    saved = Dataset.load_from_disk(str(folder), keep_in_memory=False)
    return saved.with_format("arrow").iter(ROWS_AT_ONCE), coded_columns(saved.features)


def _open_file(path: Path) -> tuple[Iterator[Table], Coded]:
    require_file(path)
    mapped = pa.memory_map(str(path))
    if mapped.read(len(FILE_BEGINS)) != FILE_BEGINS:
        mapped.seek(0)
        stream = pa.ipc.open_stream(mapped)
        return iter(stream), coded_columns_of(stream.schema)
    file = pa.ipc.open_file(mapped)
    return map(file.get_batch, range(file.num_record_batches)), coded_columns_of(file.schema)


def _rows(path: Path, tables: Iterator[Table], coded: Coded) -> Iterator[SourceRow]:
    number = 0
    try:
        for row in table_rows(tables, coded):
            number = row.line
            yield row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged behind row {number}: {error}") from None
