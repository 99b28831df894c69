"""Comma-separated values (RFC 4180), and those separated by a semicolon, a tab or a bar; UTF-8.

The first record names the columns. Which character separates them is told from the beginning of the file.
Text stays text: no cell becomes a number, a date or a null.

A record that is broken costs the line it begins in and no more: reading goes on at the next line, so that a
quote that nobody closed does not swallow the rows behind it.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from ...core.data.files import require_file
from ...core.data.lines import LONGEST_LINE, decode, read_lines, require_short, require_utf8, show
from ...core.errors import DataError, RowFault
from ...core.hookspecs import hookimpl
from ...core.source import Source, SourceRow

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
HEAD_BYTES = 2**18
LONGEST_RECORD = 2 * LONGEST_LINE
# Two words with something between them that is neither a space nor a usual part of a name.
TWO_NAMES = re.compile(r"\w[^\w\s.\-()\[\]/'?!]+\s*\w")


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [Csv]


class Csv(Source):
    """One record a row, behind one with the names of the columns."""

    name = "csv"
    suffixes = (".csv", ".tsv", ".tab")

    def rows(self, place: str) -> Iterator[SourceRow]:
        """Every record but the first. Raises DataError where that does not name the columns."""
        path = Path(place)
        return _rows(path, _header(path))

    def guess(self, place: str) -> str:
        header = _header(Path(place))
        if len(header.names) == 1:
            return f"read as a single column: {header.names[0]}"
        return f"columns separated by {header.separator}: {', '.join(header.columns)}"


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, in order; a column without a name is left out."""

    delimiter: str
    names: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        return [name for name in self.names if name]

    @property
    def separator(self) -> str:
        return DELIMITERS[self.delimiter]

    def require_names(self, path: Path) -> None:
        """Raises DataError where they cannot be those of a file's columns."""
        columns = self.columns
        if not columns:
            raise DataError(f"{path}: the first line names no column; expected names such as text,label")
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{path}: the header names two columns {twice!r}: give each a name of its own")
        if len(self.names) == 1 and TWO_NAMES.search(columns[0]):
            raise DataError(
                f"{path}: the header names a single column, {columns[0][:200]!r}; expected names separated "
                f"by {', '.join(DELIMITERS.values())}: write the file again with one of these"
            )

    def fields(self, values: Sequence[str] | RowFault) -> dict[str, str]:
        """Raises RowFault where there are not as many values as names."""
        if isinstance(values, RowFault):
            raise values
        if len(values) != len(self.names):
            raise RowFault(
                f"{len(values)} column{'' if len(values) == 1 else 's'}, separated by {self.separator}; "
                f"the header has {len(self.names)}: {', '.join(self.names)}"
            )
        return {name: value for name, value in zip(self.names, values, strict=True) if name}


class Lines:
    """Hands lines to the parser, and takes back those that a broken record has swallowed.

    `taken` are the lines of the present record, `first` is the number of the first of them. `fault` says
    which byte in them is no text; U+FFFD stands for it in what is parsed, so that the record's end is found.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._lines = read_lines(file)
        self._returned: deque[bytes] = deque()
        self.first = 1
        self.taken: list[bytes] = []
        self.begin()

    def begin(self) -> None:
        """What is taken from here on is a new record."""
        self.first += len(self.taken)
        self.taken = []
        self.fault: str | None = None
        self._size = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Raises RowFault for a line, or a record, that is too long."""
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        self._size += len(line)
        require_short(line.rstrip(b"\r\n"))
        if self._size > LONGEST_RECORD:
            raise RowFault(f"a quote that is not closed within {LONGEST_RECORD:,} bytes")
        try:
            return decode(line)
        except RowFault as fault:
            self.fault = self.fault or str(fault)
            return line.decode("utf-8", errors="replace")

    def give_back(self) -> None:
        """All lines of the record but its first are to be read again."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _header(path: Path) -> Header:
    """Raises DataError for a file that does not begin with one."""
    require_file(path)
    require_utf8(path)
    with path.open("rb") as file:
        delimiter = _delimiter(file.read(HEAD_BYTES), path.suffix.lower())
        file.seek(0)
        lines = Lines(file)
        names = next(_records(lines, delimiter), [])
    fault = str(names) if isinstance(names, RowFault) else lines.fault
    if fault:
        raise DataError(f"{path}: line {lines.first}, the header: {fault}")
    assert not isinstance(names, RowFault), "told above"
    header = Header(delimiter, tuple(name.strip() for name in names))
    header.require_names(path)
    return header


def _delimiter(head: bytes, suffix: str) -> str:
    """What gives most records of the file's beginning as many columns as the first, if that has several."""
    text = head.decode("utf-8-sig", errors="replace")
    usual = "," if suffix == ".csv" else "\t"

    def worth(delimiter: str) -> tuple[float, int, bool]:
        widths = [len(record) for record in _parse(io.StringIO(text, newline=""), delimiter) if record]
        if len(head) == HEAD_BYTES:
            del widths[-1:]
        if not widths or widths[0] < 2:
            return 0, 0, delimiter == usual
        return widths.count(widths[0]) / len(widths), widths[0], delimiter == usual

    return max(DELIMITERS, key=worth)


def _rows(path: Path, header: Header) -> Iterator[SourceRow]:
    with path.open("rb") as file:
        lines = Lines(file)
        for place, record in enumerate(_records(lines, header.delimiter)):
            if place:
                yield _row(lines, record, header)


def _row(lines: Lines, record: list[str] | RowFault, header: Header) -> SourceRow:
    try:
        fields = header.fields(record)
    except RowFault as fault:
        lines.give_back()
        return SourceRow(lines.first, fault=str(fault), raw=show(lines.taken[0]))
    raw = show(b"".join(lines.taken)).rstrip("\r\n")
    if lines.fault:
        return SourceRow(lines.first, fault=lines.fault, raw=raw)
    return SourceRow(lines.first, fields, raw=raw)


def _records(lines: Lines, delimiter: str) -> Iterator[list[str] | RowFault]:
    """The values of each record that is not blank, or why it has none."""
    while True:
        lines.begin()
        try:
            values = next(_parse(lines, delimiter, strict=True), None)
        except RowFault as fault:
            yield fault
        except csv.Error as error:
            reason = str(error).partition(" - ")[0]  # behind it stands advice to programmers
            yield RowFault(f"broken CSV: {reason}")
        else:
            if values is None:
                return
            if values:
                yield values


def _parse(lines: Iterable[str], delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_RECORD)  # of the whole process; its default is too short for long texts
    return csv.reader(lines, delimiter=delimiter, strict=strict)
