"""Lines of a file of text, read as bytes and never more than the longest allowed one at once.

So neither a broken byte nor an endless line stops the rows after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, RowFault

LONGEST_LINE = 2**20
SHOWN = 500
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def require_utf8(path: Path) -> None:
    """Raises DataError for a file in UTF-16 or UTF-32.

    The first characters give the encoding away as in JSON, with or without a byte order mark, for what
    begins with ASCII.
    """
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


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Each line with its end; of an over-long one only the beginning, enough to know it by its length."""
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)
    while line := file.readline(LONGEST_LINE + len(b"\r\n")):
        _skip_rest(file, line)
        yield line


def require_short(line: bytes) -> None:
    """Raises RowFault for a line, without its end, that is over-long."""
    if len(line) > LONGEST_LINE:
        raise RowFault(f"over-long line: more than {LONGEST_LINE:,} bytes")


def decode(line: bytes) -> str:
    """The line as text. Raises RowFault for a byte that is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"0x{line[error.start]:02x}"
        raise RowFault(f"wrong encoding: byte {byte} at column {error.start + 1} is not UTF-8") from None


def show(line: bytes) -> str:
    """As much of a line as the quarantine shows."""
    return line[: 4 * SHOWN].decode("utf-8", errors="replace")[:SHOWN]


def _skip_rest(file: BinaryIO, piece: bytes) -> None:
    while piece and not piece.endswith(b"\n"):
        piece = file.readline(LONGEST_LINE)
