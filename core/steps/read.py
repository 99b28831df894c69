"""Step `read`: the rows of the config's places become those of three splits, with an account of every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..data.account import as_json
from ..data.prepare import DataPlan, prepare
from ..discovery import discover


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes train/, validation/, test/, quarantine.jsonl, account.json and schema.json.

    Raises ConfigError and DataError where the user's rows do not fit what the config says of them.
    """
    from .candidate import say  # with it come models, which commands that read rows do without

    return read_rows(spec, folder, say)


def read_rows(spec: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """As `run`; `say` is told how the rows are read where that is a guess."""
    registry = discover()
    config = spec["config"]
    plan = DataPlan.of(config["data"], registry.task(config["task"])(), registry.source_for)
    return {"data": as_json(prepare(plan, folder, say))}
