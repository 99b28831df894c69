"""The step that says which runs make a curve: one for each number of training rows, nested in each other.

All are judged by the same validation and test rows, choose among the same labels, and register nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import Config, load_config
from ..data.account import Accounts
from ..data.prepare import DataPlan, prepare
from ..data.splitting import Limits
from ..discovery import Registry, discover
from ..errors import InputError
from .candidate import say

Json = dict[str, Any]


def run(spec: Mapping[str, Any], folder: Path) -> Json:
    """`spec`: config (path), overrides (list of key=value), rows (numbers, increasing).

    Returns {"name", "available", "validation", "points": [{"rows", "overrides"}], "left_out"}; `left_out` are
    the methods that 0 rows are too few for. Raises ConfigError, DataError, and InputError for rows that there
    are not.
    """
    registry = discover()
    config = load_config(Path(spec["config"]), spec["overrides"], registry).config
    data = config.model_dump(mode="json")["data"]
    plan = DataPlan.of(data, registry.task(config.task)(), registry.source_for)
    accounts = _prepare(plan, folder)
    available = accounts["train"].kept
    _require_available(spec["rows"], available, config)
    limit = plan.limits.held_out(plan.share) if plan.share else plan.limits.validation
    validation = min(accounts["validation"].kept, limit or accounts["validation"].kept)
    say(f"{available:,} training rows there are; {validation:,} validation rows judge every point")
    shared = [f"data.limit.validation={validation}", "register=null"]
    rowless, left_out = _rowless(config, registry) if spec["rows"][0] == 0 else ([], [])
    return {
        "name": config.name,
        "available": available,
        "validation": validation,
        "points": [{"rows": rows, "overrides": [*shared, *_own(rows, rowless)]} for rows in spec["rows"]],
        "left_out": left_out,
    }


def _prepare(plan: DataPlan, folder: Path) -> Accounts:
    """The account of the rows when no limit is set to those of train and validation."""
    unlimited = replace(plan, limits=Limits(test=plan.limits.test))
    return prepare(unlimited, folder, say)


def _require_available(rows: Sequence[int], available: int, config: Config) -> None:
    if rows[-1] > available:
        raise InputError(
            f"curve: --rows: {rows[-1]:,} training rows asked for, and {config.data.train} has {available:,} "
            f"that can be trained on: expected at most so many"
        )


def _rowless(config: Config, registry: Registry) -> tuple[list[Json], list[str]]:
    """The methods that need no training rows, as the config lists them, and the names of the others."""
    methods = [dict(entry) for entry in config.methods]
    without = [entry for entry in methods if not _needs_rows(entry, registry)]
    others = list(dict.fromkeys(next(iter(entry)) for entry in methods if _needs_rows(entry, registry)))
    if not without:
        able = [name for name, method in registry.methods.items() if not method.needs_rows]
        raise InputError(
            f"curve: --rows: at 0 rows there is nothing to run: {', '.join(others)} need training rows; "
            f"leave 0 out, or list a method that needs none: {', '.join(able)}"
        )
    return without, others


def _needs_rows(entry: Mapping[str, Any], registry: Registry) -> bool:
    return registry.method(next(iter(entry))).needs_rows


def _own(rows: int, rowless: Sequence[Json]) -> list[str]:
    """What this point's run has of its own."""
    limit = f"data.limit.train={rows}"
    return [limit] if rows else [limit, f"methods={json.dumps(list(rowless))}"]
