"""Rows without answers, for methods that find answers of their own: read and cleaned as training rows are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from ..errors import DataError, RowFault
from ..method import Task
from ..source import Source, SourceRow
from ..types import Example
from .columns import Columns
from .identity import as_keys, keys_of
from .reading import HEAD

# Stands in the column of the answer, which a task cannot read a row without.
COLUMN, UNSAID = "(answer)", "?"
INPUTS = "read.safetensors"


@dataclass(frozen=True)
class Unanswered:
    """The rows that are left, and what became of all: read = left + unusable + repeated + leaked."""

    examples: list[Example]
    read: int
    unusable: int
    repeated: int
    leaked: int


def read_unanswered(
    place: Path,
    source: Source,
    task: Task,
    data: Mapping[str, Any],
    known: Mapping[str, Sequence[Example]],
) -> Unanswered:
    """The rows of `place` by the columns of the config's `data`, each input once.

    A row goes as repeated with the input of an earlier one or of a training row, as leaked with that of a
    validation or test row; `known` are the run's rows by split. Raises DataError where none can be read.
    """
    rows, examples = 0, []
    for row in _rows(place, source, task, data):
        rows += 1
        if row is not None:
            examples.append(row)
    if not examples:
        raise DataError(f"{place}: expected rows to be labelled, found none of {rows:,} that can be read")
    inputs = inputs_of(examples)
    trained, judging = inputs_of(known["train"]), inputs_of([*known["validation"], *known["test"]])
    leaked = np.isin(inputs, judging)
    first = np.zeros(len(inputs), np.bool_)
    first[np.unique(inputs, return_index=True)[1]] = True
    left = first & ~leaked & ~np.isin(inputs, trained)
    return Unanswered(
        examples=[replace(examples[at], id=f"unanswered-{at}") for at in np.flatnonzero(left).tolist()],
        read=rows,
        unusable=rows - len(examples),
        repeated=int((~left & ~leaked).sum()),
        leaked=int(leaked.sum()),
    )


def save_inputs(folder: Path, keys: npt.NDArray[np.uint64]) -> None:
    """Leave the keys [inputs] of rows that a fit has read beside the run's; nothing where there are none."""
    if len(keys):
        save_file({"input": np.unique(keys)}, folder / INPUTS)


def load_inputs(folder: Path) -> npt.NDArray[np.uint64]:
    """What `save_inputs` left in the folder of a fit: shape [inputs]."""
    path = folder / INPUTS
    return load_file(path)["input"] if path.is_file() else np.empty(0, np.uint64)


def _rows(place: Path, source: Source, task: Task, data: Mapping[str, Any]) -> Iterator[Example | None]:
    """Each row as an example; None for one that cannot be used."""
    columns = _columns(task, data)
    rows = (_with_answer(row, task) for row in source.rows(str(place)))
    head = list(islice(rows, HEAD))
    columns.check(str(place), head)
    for row in chain(head, rows):
        try:
            example = columns.read(row)
            keys_of(example)
        except RowFault:
            yield None
        else:
            yield example


def _columns(task: Task, data: Mapping[str, Any]) -> Columns:
    """Those of the training rows, but for the answer (a task's second field) and the slices."""
    answer = list(task.columns)[1]
    named = dict(data.get("columns") or {})
    if named or data.get("prompt") or data.get("response"):
        named[answer] = COLUMN
    return Columns.of(task, {**data, "columns": named, "response": None, "slices": ()})


def _with_answer(row: SourceRow, task: Task) -> SourceRow:
    answer = list(task.columns)[1]
    return replace(row, fields={**row.fields, answer: UNSAID, COLUMN: UNSAID}) if not row.fault else row


def inputs_of(examples: Sequence[Example]) -> npt.NDArray[np.uint64]:
    """The key of each input: shape [rows]."""
    return as_keys(bytearray(b"".join(map(keys_of, examples))))["input"]
