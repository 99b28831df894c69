"""The table of a run's candidates as words: for the console, for markdown, for Prefect's artifacts.

Reads entries of result.json, so it needs none of the libraries that made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "-"


def headers(metric: str) -> list[str]:
    return [
        "rung",
        "candidate",
        f"{metric} (test)",
        f"{metric} (validation)",
        "against the chosen (test)",
        "forgetting",
        "trainable parameters",
        "fit seconds",
        "peak memory",
        "tokens written a row",
    ]


def rows(candidates: Sequence[Mapping[str, Any]], choice: Mapping[str, Any], metric: str) -> list[list[str]]:
    """One row a candidate, in the order of the ladder; cells as in `headers`."""
    ladder = sorted(candidates, key=lambda each: each["rung"])
    return [_row(each, each["id"] == choice["id"], metric) for each in ladder]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines) + "\n"


def short(figure: float, digits: int = 4) -> str:
    """So many significant digits, never in powers of ten where it is large."""
    return f"{figure:,.0f}" if abs(figure) >= 10**digits else f"{figure:.{digits}g}"


def _row(candidate: Mapping[str, Any], chosen: bool, metric: str) -> list[str]:
    cost = candidate["cost"]
    done = candidate["status"] == "ok"
    return [
        f"{candidate['rung']:g}",
        f"{candidate['id']} (chosen)" if chosen else candidate["id"],
        interval(candidate["metrics"].get(metric)) if done else candidate["status"],
        interval(candidate["validation_metrics"].get(metric)),
        _difference(candidate["against_chosen"]),
        _percent((candidate["retention"] or {}).get("forgetting")),
        _count(cost["trainable_parameters"]),
        _seconds(cost["fit_seconds"]),
        _memory(cost["peak_memory_bytes"]),
        _tokens(cost.get("written_tokens_per_row")),
    ]


def interval(figure: Mapping[str, float] | None) -> str:
    """A figure and its ends, as result.json has them."""
    if figure is None:
        return NOTHING
    value, low, high = (short(figure[end], digits=3) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _difference(difference: Mapping[str, Any] | None) -> str:
    """With its sign: + is better than the chosen."""
    if difference is None:
        return NOTHING
    form = "{:+.1%}" if difference["relative"] else "{:+.3f}"
    value, low, high = (form.format(difference[end]) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:+.1%}"


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:,.1f}"


def _tokens(number: float | None) -> str:
    """Nothing where answers are not written."""
    return f"{number:,.1f}" if number else NOTHING


def _memory(size: int | None) -> str:
    return NOTHING if size is None else f"{size / 2**20:,.0f} MiB"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
