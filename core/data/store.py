"""Prepared rows on disk: Arrow folders as `datasets` saves and loads them, memory-mapped.

Written batch by batch, read row by row: neither side ever holds a whole split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features, List, Value, load_from_disk

from ..method import DataSchema, Task
from ..types import Encoded, Example, Message

EXAMPLE_FEATURES = Features(
    {
        "id": Value("string"),
        "line": Value("int64"),
        "input": Value("string"),
        "expected": Value("string"),
        "messages": Value("string"),
        "options": List(Value("string")),
        "slices": Value("string"),
        "task": Value("string"),
    }
)
ENCODED_FEATURES = Features(
    {**EXAMPLE_FEATURES, "tokens": List(Value("int32")), "trained": List(Value("bool"))}
)
DATA_FILE = "data-00000-of-00001.arrow"
SCHEMA_FILE = "schema.json"
BATCH_ROWS = 1000
BATCH_CHARACTERS = 2**22
Line = tuple[int, Example]


class SplitWriter:
    """Writes one split as `Dataset.save_to_disk` would; use as a context, `folder` must not exist."""

    def __init__(self, folder: Path, features: Features) -> None:
        folder.mkdir()
        self.folder = folder
        self.features = features
        self._writer = pa.ipc.new_stream(str(folder / DATA_FILE), features.arrow_schema)

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._writer.write_batch(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        DatasetInfo(features=self.features).write_to_directory(str(self.folder))
        state: dict[str, Any] = {
            "_data_files": [{"filename": DATA_FILE}],
            "_fingerprint": _content_hash(self.folder / DATA_FILE),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        write_json(self.folder / "state.json", state)


class ArrowSplit:
    """One split, read from its folder as asked (`types.Split`)."""

    def __init__(self, rows: Dataset) -> None:
        prepared = [name for name in ("tokens", "trained") if name in rows.column_names]
        self._examples = rows.remove_columns(["line", *prepared])
        self._encoded = rows.select_columns(prepared)

    def __len__(self) -> int:
        return len(self._examples)

    def example(self, index: int) -> Example:
        return _example(self._examples[index])

    def encoded(self, index: int) -> Encoded:
        row = self._encoded[index]
        return Encoded(row["tokens"], row["trained"])

    def examples(self) -> list[Example]:
        tables = self._examples.with_format("arrow").iter(batch_size=BATCH_ROWS)
        return [_example(row) for table in tables for row in table.to_pylist()]


def load_split(folder: Path) -> ArrowSplit:
    """The split that `SplitWriter` left in `folder`."""
    return ArrowSplit(load_from_disk(str(folder)))


def save_schema(folder: Path, schema: DataSchema) -> None:
    content = {"task": schema.task.name, "instruction": schema.instruction, "labels": list(schema.labels)}
    write_json(folder / SCHEMA_FILE, content)


def load_schema(folder: Path, task: Callable[[str], type[Task]]) -> DataSchema:
    """What `save_schema` left in `folder`; `task` gives a task by its name (`Registry.task`)."""
    content = json.loads((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
    return DataSchema(task(content["task"])(), content["instruction"], tuple(content["labels"]))


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Examples with their line numbers, as many at a time as memory holds with ease."""
    batch: list[Line] = []
    characters = 0
    for line in lines:
        batch.append(line)
        characters += len(line[1].input) + len(line[1].expected)
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def example_batch(lines: Sequence[Line]) -> pa.RecordBatch:
    """Examples as Arrow, by EXAMPLE_FEATURES."""
    examples = [example for _, example in lines]
    columns = {
        "id": [example.id for example in examples],
        "line": [line for line, _ in lines],
        "input": [example.input for example in examples],
        "expected": [example.expected for example in examples],
        "messages": [_as_json(example.messages) for example in examples],
        "options": [list(example.options) for example in examples],
        "slices": [_slices_as_json(example.slices) for example in examples],
        "task": [example.task for example in examples],
    }
    return pa.RecordBatch.from_pydict(columns, schema=EXAMPLE_FEATURES.arrow_schema)


def encoded_batch(rows: Sequence[tuple[Line, Encoded]]) -> pa.RecordBatch:
    """Examples and their tokens as Arrow, by ENCODED_FEATURES."""
    tokens = pa.array([encoded.tokens for _, encoded in rows], pa.list_(pa.int32()))
    trained = pa.array([encoded.trained for _, encoded in rows], pa.list_(pa.bool_()))
    columns = [*example_batch([line for line, _ in rows]).columns, tokens, trained]
    return pa.RecordBatch.from_arrays(columns, schema=ENCODED_FEATURES.arrow_schema)


def with_ids(batch: pa.RecordBatch, kept: npt.NDArray[np.bool_], ids: Sequence[str]) -> pa.RecordBatch:
    """The rows of a batch that `kept` (shape [rows]) names, each with its id."""
    return batch.filter(pa.array(kept)).set_column(0, "id", pa.array(ids, pa.string()))


def record_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a written split, memory-mapped, in the batches they were written in."""
    with pa.memory_map(str(folder / DATA_FILE)) as file:
        yield from pa.ipc.open_stream(file)


def stored_lines(folder: Path) -> Iterator[Line]:
    """The examples of a written split with their line numbers."""
    for batch in record_batches(folder):
        for row in batch.to_pylist():
            yield row["line"], _example(row)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _example(row: Mapping[str, Any]) -> Example:
    turns = json.loads(row["messages"]) if row["messages"] else ()
    messages = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    options, slices = tuple(row["options"]), json.loads(row["slices"])
    return Example(row["id"], row["input"], row["expected"], messages, options, slices, row["task"])


def _as_json(messages: Sequence[Message]) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return json.dumps(turns, ensure_ascii=False) if turns else ""


def _slices_as_json(slices: Mapping[str, str]) -> str:
    return json.dumps(slices, ensure_ascii=False) if slices else "{}"


def _content_hash(path: Path) -> str:
    """`datasets` caches by this name what is computed from the rows, so it is drawn from the rows."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
