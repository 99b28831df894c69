"""JSON Lines: one JSON object a line, UTF-8 (https://jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.data.fields import kind_of
from ...core.data.files import require_file
from ...core.data.lines import decode, read_lines, require_short, require_utf8, show
from ...core.errors import RowFault
from ...core.hookspecs import hookimpl
from ...core.source import Source, SourceRow


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [JsonLines]


class JsonLines(Source):
    """One JSON object a line."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json-lines")

    def rows(self, place: str) -> Iterator[SourceRow]:
        """Every line that is not blank. Raises DataError where the file as a whole cannot be read."""
        path = Path(place)
        require_file(path)
        require_utf8(path)
        return _rows(path)


def _rows(path: Path) -> Iterator[SourceRow]:
    with path.open("rb") as file:
        for number, line in enumerate(read_lines(file), start=1):
            text = line.rstrip(b"\r\n")
            if text.strip():
                yield _row(number, text)


def _row(number: int, line: bytes) -> SourceRow:
    try:
        require_short(line)
        return SourceRow(number, _parse(line), raw=show(line))
    except RowFault as fault:
        return SourceRow(number, fault=str(fault), raw=show(line))


def _parse(line: bytes) -> Mapping[str, Any]:
    text = decode(line)
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise RowFault(f"broken JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise RowFault("broken JSON: nested too deeply") from None
    except ValueError as error:
        raise RowFault(f"broken JSON: {error}") from None
    if not isinstance(value, dict):
        raise RowFault(f"not an object but {kind_of(value)}")
    return value


def _refuse_constant(name: str) -> None:
    raise RowFault(f"broken JSON: {name} is no JSON value")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
