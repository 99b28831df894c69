"""JSON Lines: one JSON object a line, UTF-8 (https://jsonlines.org).

Read as bytes, a line at a time, and never more than the longest allowed line at once, so that neither
a broken byte nor an endless line stops the rows after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...core.data.fields import kind_of
from ...core.data.files import require_file
from ...core.errors import DataError, RowFault
from ...core.hookspecs import hookimpl
from ...core.method import Source, SourceRow

LONGEST_LINE = 2**20
SHOWN = 500
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [JsonLines]


class JsonLines(Source):
    """One JSON object a line."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json-lines")

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Every line that is not blank. Raises DataError where the file as a whole cannot be read."""
        require_file(path)
        _require_utf8(path)
        return _rows(path)


def _require_utf8(path: Path) -> None:
    """JSON's first characters give its encoding away, with or without a byte order mark."""
    with path.open("rb") as file:
        head = file.read(4)
    encoding = json.detect_encoding(head)
    marked = encoding in ("utf-16", "utf-32")
    # Without a mark two zeros tell; a single one may stand in a broken first row.
    if marked or (not encoding.startswith("utf-8") and head.count(0) >= 2):
        raise DataError(
            f"{path} is written in {encoding.upper()}; expected UTF-8. "
            f"Convert it: iconv -f {encoding.upper()} -t UTF-8 {path.name} > utf8-{path.name}"
        )


def _rows(path: Path) -> Iterator[SourceRow]:
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            text = line.rstrip(b"\r\n")
            if len(text) > LONGEST_LINE:
                fault = f"over-long line: more than {LONGEST_LINE:,} bytes"
                yield SourceRow(number, fault=fault, raw=_show(text))
            elif text.strip():
                yield _row(number, text)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Each line with its end; of an over-long one only the beginning, enough to know it by its length."""
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)
    while line := file.readline(LONGEST_LINE + len(b"\r\n")):
        _skip_rest(file, line)
        yield line


def _skip_rest(file: BinaryIO, piece: bytes) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(LONGEST_LINE)


def _row(number: int, line: bytes) -> SourceRow:
    try:
        return SourceRow(number, _parse(line), raw=_show(line))
    except RowFault as fault:
        return SourceRow(number, fault=str(fault), raw=_show(line))


def _parse(line: bytes) -> Mapping[str, Any]:
    try:
        value = DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        byte = f"0x{line[error.start]:02x}"
        raise RowFault(f"wrong encoding: byte {byte} at column {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise RowFault(f"broken JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise RowFault("broken JSON: nested too deeply") from None
    except ValueError as error:
        raise RowFault(f"broken JSON: {error}") from None
    if not isinstance(value, dict):
        raise RowFault(f"not an object but {kind_of(value)}")
    return value


def _show(line: bytes) -> str:
    return line[: 4 * SHOWN].decode("utf-8", errors="replace")[:SHOWN]


def _refuse_constant(name: str) -> None:
    raise RowFault(f"broken JSON: {name} is no JSON value")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
