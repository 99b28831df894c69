"""The evaluation of a fitted model, whoever asks for it, and its figures in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core.evaluation.table import interval
from ..core.training.children import Children
from .single import do_step

Log = Callable[[str], None]
Evaluated = Mapping[str, Any]
HEADERS = ("metric", "value (95 % interval)")


def evaluate_model(model: str, config: Path, runs: Path, log: Log, children: Children) -> Evaluated:
    """The content of the evaluation's result.json. Raises InputError for a wrong model or config."""
    spec = {"model": model, "config": str(config.absolute()), "runs": str(runs.absolute())}
    return do_step("evaluate_model", spec, log, children)


def figures(evaluated: Evaluated) -> list[tuple[str, str]]:
    """One row a metric, as in HEADERS."""
    return [(name, interval(figure)) for name, figure in evaluated["metrics"].items()]


def summary(evaluated: Evaluated) -> str:
    """What was evaluated, on how many rows, and what speaks against the figures."""
    rows, known = evaluated["data"]["test"]["kept"], evaluated["trained_on"]
    text = f"{evaluated['model']} on {rows} test rows of {evaluated['config']}"
    if known is None:
        return f"{text}; nobody wrote down which rows it was trained on"
    if known:
        return f"{text}; it was trained on {known} of them, so the figures lean to the good side"
    return f"{text}; it was trained on none of them"
