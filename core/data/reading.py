"""The first pass over the rows of a place: each becomes an example on disk, or a line of the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from ..errors import RowFault
from ..places import at_hand
from ..source import Source, SourceRow
from ..types import SplitName
from .account import Quarantine
from .columns import Columns
from .identity import Keys, keys_of, mapped_keys, occurrences, row_ids
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
Say = Callable[[str], None]


@dataclass(frozen=True)
class RowPlace:
    """Where the rows of a split are, and what reads them there."""

    split: SplitName
    where: str
    source: Source
    columns: Columns


@dataclass(frozen=True)
class ReadRows:
    """The readable rows of a place: examples without ids in `folder`, their keys in the same order."""

    place: RowPlace
    folder: Path
    keys: Keys
    unreadable: int


def read_place(place: RowPlace, folder: Path, quarantine: Quarantine, say: Say) -> ReadRows:
    """Read the rows into the new folder `folder`; `say` is told how, where that is a guess.

    Raises DataError where nothing can be read, and where none of the first rows fits.
    """
    keys_path = folder.with_suffix(".keys")
    with at_hand(place.where, folder.with_suffix(".fetched")) as at:
        fitted, rows = _open(place, at, say)
        with SplitWriter(folder, EXAMPLE_FEATURES) as writer, keys_path.open("wb") as keys:
            for batch in batches(_readable(fitted, rows, keys, quarantine)):
                writer.write(example_batch(batch))
    return ReadRows(place, folder, mapped_keys(keys_path), quarantine.counts[place.split])


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


def _open(place: RowPlace, at: str, say: Say) -> tuple[RowPlace, Iterator[SourceRow]]:
    """The place with columns that fit its first rows, and all its rows."""
    guess = place.source.guess(at)
    if guess:
        say(f"data.{place.split}: {guess}")
    rows = place.source.rows(at)
    head = list(islice(rows, HEAD))
    columns = place.columns.fitted(head)
    if columns.form:
        say(f"data.{place.split}: {columns.form.guess}")
    columns.check(place.where, head)
    return replace(place, columns=columns), chain(head, rows)


def _readable(
    place: RowPlace, rows: Iterable[SourceRow], keys: BinaryIO, quarantine: Quarantine
) -> Iterator[Line]:
    """The examples; their keys are written to `keys`, faulty rows go to the quarantine."""
    for row in rows:
        try:
            example = place.columns.read(row)
            keys.write(keys_of(example))
        except RowFault as fault:
            shown = row.raw or str(dict(row.fields))
            quarantine.add(place.split, place.where, row.line, str(fault), shown)
            continue
        yield row.line, example
