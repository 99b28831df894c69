"""Step `read`: the config's files become the rows of three splits, with an account of every row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.account import as_json
from ..data.prepare import DataPlan, prepare
from ..discovery import discover


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes train/, validation/, test/, quarantine.jsonl, account.json and schema.json.

    Raises ConfigError and DataError where the user's files do not fit what the config says of them.
    """
    registry = discover()
    config = spec["config"]
    plan = DataPlan.of(config["data"], registry.task(config["task"])(), registry.source_for)
    return {"data": as_json(prepare(plan, folder))}
