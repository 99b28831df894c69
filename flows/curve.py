"""A curve: the same ladder on nested parts of the training rows, each an ordinary run, read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..core.errors import InputError
from ..core.steps.ending import ending
from ..core.training.children import Children
from .engines import Engine, walk
from .planning import Log, Planned, Request, open_run_folder, plan
from .single import do_step
from .watch import Watcher

Curve = Mapping[str, Any]
EXAMPLE = "--rows 0,10,50,400"


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a curve is drawn with."""

    engine: Engine
    children: Children
    watcher: Watcher
    log: Log


def parse_rows(text: str) -> list[int]:
    """The numbers of training rows, as the user writes them. Raises InputError."""
    rows = [_parse(part) for part in text.split(",")]
    for before, after in pairwise(rows):
        if before >= after:
            raise InputError(f"curve: --rows {text}: {after} follows {before}: expected increasing numbers")
    if len(rows) < 2:
        raise InputError(f"curve: --rows {text}: expected at least two numbers, as in {EXAMPLE}")
    return rows


def _parse(part: str) -> int:
    try:
        rows = int(part)
    except ValueError:
        rows = -1
    if rows < 0:
        raise InputError(f"curve: --rows: expected whole numbers from 0 on, as in {EXAMPLE}; found {part!r}")
    return rows


def draw_curve(request: Request, rows: list[int], drawing: Drawing) -> Curve:
    """Run what is not done yet, and leave the curve in its folder; returns curve.json.

    Raises InputError where the config, its rows or what they name is wrong.
    """
    spec = {"config": str(request.config.absolute()), "overrides": list(request.overrides), "rows": rows}
    asked = do_step("curve_points", spec, drawing.log, drawing.children)
    planned = [_plan(request, point, drawing) for point in asked["points"]]
    points = [_climb(run, point, drawing) for run, point in zip(planned, asked["points"], strict=True)]
    told = {
        "name": asked["name"],
        "config": dict(planned[-1].config),
        "runs": str(request.runs.absolute()),
        "left_out": asked["left_out"],
        "points": points,
    }
    return do_step("curve", told, drawing.log, drawing.children)


def _plan(request: Request, point: Mapping[str, Any], drawing: Drawing) -> Planned:
    """All are planned before the first is run, so that what is wrong is told at once."""
    own = Request(request.config, (*request.overrides, *point["overrides"]), request.runs)
    return plan(own, drawing.children, drawing.log, announce=True)


def _climb(planned: Planned, point: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    """Do the run of a point, and say where its steps have left what the curve is read from."""
    open_run_folder(planned)
    drawing.log(f"{planned.run_dir.name}: {point['rows']:,} training rows")
    outcomes = walk(drawing.engine, planned, drawing.children, drawing.watcher)
    folders = {node: str(outcome.folder) for node, outcome in outcomes.items() if outcome.done}
    evaluated = {node.partition(":")[2]: at for node, at in folders.items() if node.startswith("evaluate:")}
    return {
        "rows": point["rows"],
        "run_dir": str(planned.run_dir),
        "fingerprint": planned.run["fingerprint"],
        "error": ending(outcomes).message,
        "compare": folders.get("compare"),
        "evaluated": evaluated,
    }
