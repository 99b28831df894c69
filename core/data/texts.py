"""Ordinary text, in which nothing is asked: forgetting is measured on it, and it is replayed against that."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import DataError


def read_texts(path: Path, key: str) -> list[str]:
    """The `text` of each line of a JSONL file, or the whole of a file of plain text.

    `key` is the config's for the file. Raises DataError where there is no such text.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix != ".jsonl":
            return [content]
        return [_text(json.loads(line)) for line in content.splitlines() if line.strip()]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f'{key}: {path}: expected UTF-8 lines such as {{"text": "..."}}, found {error!r}'
        ) from error


def _text(row: dict[str, object]) -> str:
    text = row["text"]
    if not isinstance(text, str):
        raise TypeError(f"text: {text!r:.60}")
    return text
