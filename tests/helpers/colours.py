"""Rows that tell a colour, for runs on the tiny base."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

# How a config of them begins, by the files of `write_splits`; methods, and what else there may be, follow.
COLOURS = """
name: colours
base: {base}
task: classify
data:
  train: train.jsonl
  test: test.jsonl
  columns: {{input: text, label: colour}}
  instruction: which colour is the car ?
"""


def colour_rows() -> list[dict[str, str]]:
    """96 different rows, half of them red, in a fixed order."""
    return [
        {"text": f"{owner} {thing} {verb} {shade} {colour}", "colour": colour}
        for owner in ("my", "your", "the")
        for thing in ("car", "house", "door", "paint")
        for verb in ("is", "was")
        for shade in ("very", "quite")
        for colour in ("red", "blue")
    ]


def as_lines(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_splits(folder: Path, splits: Mapping[str, Iterable[Mapping[str, object]]]) -> None:
    """A file of JSON lines for each."""
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text(as_lines(rows))
