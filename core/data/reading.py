"""The first pass over a file: every row becomes an example on disk, or a line of the quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from ..errors import RowFault
from ..method import Source, SourceRow
from ..types import SplitName
from .account import Quarantine
from .columns import Columns
from .identity import Keys, as_keys, keys_of, occurrences, row_ids
from .splitting import Mask
from .store import (
    EXAMPLE_FEATURES,
    Line,
    SplitWriter,
    batches,
    example_batch,
    record_batches,
    with_ids,
)

HEAD = 100


@dataclass(frozen=True)
class RowFile:
    """A file of rows and what reads it."""

    split: SplitName
    path: Path
    source: Source
    columns: Columns


@dataclass(frozen=True)
class ReadRows:
    """The readable rows of a file: examples without ids in `folder`, their keys here, in the same order."""

    file: RowFile
    folder: Path
    keys: Keys
    unreadable: int


def read_file(file: RowFile, folder: Path, quarantine: Quarantine) -> ReadRows:
    """Read `file` into the new folder `folder`. Raises DataError where none of its first rows fits."""
    rows = file.source.rows(file.path)
    head = list(islice(rows, HEAD))
    file.columns.check(file.path, head)
    records = bytearray()
    with SplitWriter(folder, EXAMPLE_FEATURES) as writer:
        for batch in batches(_readable(file, chain(head, rows), records, quarantine)):
            writer.write(example_batch(batch))
    return ReadRows(file, folder, as_keys(records), quarantine.counts[file.split])


def write_kept(rows: ReadRows, kept: Mask, folder: Path) -> None:
    """The second pass: the kept rows, now with their ids, into the new folder `folder`."""
    earlier = occurrences(rows.keys)
    start = 0
    with SplitWriter(folder, EXAMPLE_FEATURES) as writer:
        for batch in record_batches(rows.folder):
            span = slice(start, start + batch.num_rows)
            mask = kept[span]
            writer.write(with_ids(batch, mask, row_ids(rows.keys[span][mask], earlier[span][mask])))
            start = span.stop


def _readable(
    file: RowFile, rows: Iterable[SourceRow], records: bytearray, quarantine: Quarantine
) -> Iterator[Line]:
    """The examples; their keys are appended to `records`, faulty rows go to the quarantine."""
    for row in rows:
        try:
            example = file.columns.read(row)
            records += keys_of(example)
        except RowFault as fault:
            quarantine.add(file.split, file.path, row.line, str(fault), row.raw or str(dict(row.fields)))
            continue
        yield row.line, example
