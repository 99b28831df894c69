"""Rows written to files and prepared from there, as a run does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stepladder.core.data.account import as_json
from stepladder.core.data.prepare import DataPlan, prepare
from stepladder.core.data.store import record_batches
from stepladder.core.method import Task
from stepladder.plugins.sources.jsonl import JsonLines
from stepladder.plugins.tasks.classify import Classify

Rows = Sequence[dict[str, Any] | bytes | str]


@dataclass
class Prepared:
    folder: Path
    account: dict[str, dict[str, int]]

    def lines(self, split: str) -> list[int]:
        return [row["line"] for row in self.rows(split)]

    def rows(self, split: str) -> list[dict[str, Any]]:
        return [row for batch in record_batches(self.folder / split) for row in batch.to_pylist()]

    def quarantine(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "quarantine.jsonl").read_text().splitlines()]

    def schema(self) -> dict[str, Any]:
        return json.loads((self.folder / "schema.json").read_text())


def as_bytes(row: dict[str, Any] | bytes | str) -> bytes:
    if isinstance(row, bytes):
        return row
    return row.encode() if isinstance(row, str) else json.dumps(row).encode()


def prepare_rows(folder: Path, train: Rows, test: Rows, task: Task | None = None, **data: Any) -> Prepared:
    """Writes train.jsonl and test.jsonl (and validation.jsonl for rows) into `folder` and prepares them."""
    files = {"train": train, "test": test}
    if isinstance(data.get("validation"), list):
        files["validation"] = data.pop("validation")
    config = {"validation": 0.2, "max_bad": 0.0, "limit": {}, **data}
    for split, rows in files.items():
        path = folder / f"{split}.jsonl"
        path.write_bytes(b"\n".join(as_bytes(row) for row in rows))
        config[split] = str(path)
    out = folder / "prepared"
    out.mkdir()
    plan = DataPlan.of(config, task or Classify(), lambda _: JsonLines)
    return Prepared(out, as_json(prepare(plan, out, print)))


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """`prepared(train, test, ...)`: rows that went through files; one folder for each call."""
    calls: list[Path] = []

    def call(*rows: Rows, **data: Any) -> Prepared:
        calls.append(tmp_path / f"data{len(calls)}")
        calls[-1].mkdir()
        return prepare_rows(calls[-1], *rows, **data)

    return call
