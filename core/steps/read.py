"""Step `read`: the rows of the config's places become those of three splits, with an account of every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.account import as_json
from ..data.near import report_near_duplicates
from ..data.prepare import DataPlan, prepare
from ..discovery import discover


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes train/, validation/, test/, quarantine.jsonl, account.json and schema.json.

    With `data.near_duplicates` near_duplicates.jsonl too.

    Raises ConfigError and DataError where the user's rows do not fit what the config says of them.
    """
    from .candidate import say  # with it come models, which commands that read rows do without

    return read_rows(spec, folder, say)


def read_rows(spec: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """As `run`; `say` is told how the rows are read where that is a guess."""
    registry = discover()
    config = spec["config"]
    plan = DataPlan.of(config["data"], registry.task(config["task"])(), registry.source_for)
    result = {"data": as_json(prepare(plan, folder, say))}
    similarity = config["data"].get("near_duplicates")
    if similarity is not None:
        near = report_near_duplicates(folder, similarity)
        say(str(near))
        result["near_duplicates"] = asdict(near)
    return result
