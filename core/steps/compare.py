"""The step that judges all candidates: figures with intervals, costs, the choice, and the table.

The choice is made on validation rows. Test rows are only reported on: as a whole, by the parts of
`data.slices`, and in the tables that stand behind some figures.
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..evaluation import reason, table
from ..evaluation.choose import Choice, Contender, Rule, choose
from ..evaluation.compare import paired
from ..evaluation.score import MetricFailed, evaluate, read_predictions
from ..evaluation.slices import Slice, slices
from ..metric import Metric
from ..types import Interval, Record
from .candidate import say

Json = dict[str, Any]
VALIDATION = "validation_predictions.jsonl"
DETAILS = "details"
LIMIT = "max_"
SEARCHES = ("searched", "tuned")
NOTES = "notes"
# What is paid for every candidate that a candidate builds on.
SUMMED = ("fit_seconds", "train_seconds", "trained_tokens", "replay_tokens")
MOST_PARTS = 50


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate's entry of result.json, and its records (empty unless its status is ok).

    `builds_on` counts the other candidates that had to be fitted for it.
    """

    entry: Json
    test: Sequence[Record] = ()
    validation: Sequence[Record] = ()
    builds_on: int = 0

    @property
    def ok(self) -> bool:
        return bool(self.entry["status"] == "ok")


def run(spec: Mapping[str, Any], folder: Path) -> Json:
    """Returns `candidates` (entries of result.json), `choice`, `metric` (which chose), `table` (markdown).

    Writes details/<candidate>.json for the candidates with tables behind their figures: {metric: rows}.
    """
    metrics = _metrics(spec["config"])
    judged = [_judge(candidate, spec, metrics) for candidate in spec["candidates"]]
    _write_details(judged, metrics, folder / DETAILS)
    choice = _choose(judged, metrics[0], spec["config"]["choose"])
    against = _against_chosen(judged, choice, metrics[0])
    candidates = [{**each.entry, "against_chosen": against.get(each.entry["id"])} for each in judged]
    told = asdict(choice)
    name = metrics[0].name
    markdown = table.markdown(table.headers(name), table.rows(candidates, told, name))
    return {"candidates": candidates, "choice": told, "metric": name, "table": markdown}


def _metrics(config: Mapping[str, Any]) -> list[Metric]:
    """The metric that chooses, then the task's others."""
    registry = discover()
    task = registry.task(config["task"])
    chooses = config["choose"].get("metric") or task.chooses_by
    return [registry.metric(name)() for name in dict.fromkeys([chooses, *task.metrics])]


def _judge(candidate: Mapping[str, Any], spec: Mapping[str, Any], metrics: Sequence[Metric]) -> Judged:
    entry = _unjudged(candidate, spec)
    if f"evaluate:{candidate['id']}" not in spec["needs"]:
        return Judged({**entry, **spec["failures"][candidate["id"]]})
    try:
        return _judge_answers(entry, spec, metrics)
    except MetricFailed as error:
        say("".join(traceback.format_exception(error)))
        return Judged({**entry, "status": "failed", "error": str(error)})


def _judge_answers(entry: Json, spec: Mapping[str, Any], metrics: Sequence[Metric]) -> Judged:
    """Raises MetricFailed."""
    evaluated = Path(spec["needs"][f"evaluate:{entry['id']}"])
    predictions = evaluated / "predictions.jsonl"
    test, validation = read_predictions(predictions), read_predictions(evaluated / VALIDATION)
    figures, validation_figures = evaluate(test, metrics), evaluate(validation, metrics)
    fault = _not_finite([*figures.items(), *validation_figures.items()])
    if validation and metrics[0].name not in validation_figures:
        fault = f"{metrics[0].name} cannot be computed of its answers: set choose.metric to another metric"
    if fault:
        return Judged({**entry, "status": "failed", "error": fault})
    done: Json = {
        "metrics": {name: asdict(figure) for name, figure in figures.items()},
        "validation_metrics": {name: asdict(figure) for name, figure in validation_figures.items()},
        "retention": _read(str(evaluated), "result.json")["retention"],
        "predictions": str(predictions),
    }
    if parts := _slices(test, metrics):
        done["slices"] = parts
    fitted = _read(spec["needs"][f"fit:{entry['id']}"], "result.json")
    if fitted.get(NOTES):
        done[NOTES] = fitted[NOTES]
    faults = _read(str(evaluated), "result.json").get("scorer_faults")
    done |= {"scorer_faults": faults} if faults is not None else {}
    others = builds_on(entry["id"], spec["candidates"])
    return Judged({**entry, **done}, test, validation, len(others))


def _slices(test: Sequence[Record], metrics: Sequence[Metric]) -> Json:
    """By column of `data.slices` and value: the rows' number as `rows`, and every metric over them."""
    columns: dict[str, list[Slice]] = {}
    for part in slices(test, closed=False):
        columns.setdefault(part.column, []).append(part)
    return {
        column: {part.value: _part(part, metrics) for part in _largest(column, parts)}
        for column, parts in columns.items()
    }


def _part(part: Slice, metrics: Sequence[Metric]) -> Json:
    figures = evaluate(part.records, metrics)
    return {"rows": len(part.records), **{name: asdict(figure) for name, figure in figures.items()}}


def _largest(column: str, parts: Sequence[Slice]) -> Sequence[Slice]:
    """A column that is rather a name of the row has a value for each: figures of so few rows say nothing."""
    if len(parts) <= MOST_PARTS:
        return parts
    say(f"data.slices: {column} has {len(parts)} values; figures are told of the {MOST_PARTS} with most rows")
    kept = sorted(parts, key=lambda part: len(part.records), reverse=True)[:MOST_PARTS]
    return [part for part in parts if part in kept]


def _write_details(judged: Sequence[Judged], metrics: Sequence[Metric], folder: Path) -> None:
    for each in judged:
        applying = [metric for metric in metrics if each.test and metric.applies(each.test)]
        tables = {metric.name: [dict(row) for row in metric.details(each.test)] for metric in applying}
        if tables := {name: rows for name, rows in tables.items() if rows}:
            folder.mkdir(exist_ok=True)
            (folder / f"{each.entry['id']}.json").write_text(json.dumps(tables, indent=2) + "\n")


def _unjudged(candidate: Mapping[str, Any], spec: Mapping[str, Any]) -> Json:
    """The entry with what holds before any figure: who it is, what it cost, where its artifact lies.

    The settings of one that was tuned are those that were taken.
    """
    needs = spec["needs"]
    fitted = needs.get(f"fit:{candidate['id']}")
    said = _read(fitted, "result.json")
    searches = {kind: said[kind] for kind in SEARCHES if said.get(kind)}
    taken = searches["tuned"]["best"] if "tuned" in searches else {}
    return {
        **{key: candidate[key] for key in ("id", "method", "rung")},
        "settings": {**candidate["settings"], **taken},
        **searches,
        "status": "ok",
        "error": None,
        "metrics": {},
        "validation_metrics": {},
        "retention": None,
        "cost": _whole_cost(needs, candidate["id"], builds_on(candidate["id"], spec["candidates"])),
        "artifact": str(Path(fitted, "artifact")) if fitted else None,
        "predictions": None,
    }


def builds_on(name: str, candidates: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of all candidates that had to be fitted for this one, each once."""
    by_id = {candidate["id"]: candidate.get("needs", ()) for candidate in candidates}
    found: dict[str, None] = {}
    waiting = list(by_id.get(name, ()))
    while waiting:
        need = waiting.pop()
        found[need] = None
        waiting += [each for each in by_id[need] if each not in found]
    return list(found)


def _whole_cost(needs: Mapping[str, str], name: str, others: Sequence[str]) -> Json:
    """What one pays for the candidate: its own cost, and for their fits that of those that it builds on."""
    own = _cost(needs, name)
    costs = [own, *(_cost(needs, other) for other in others)]
    figures = {key: [cost[key] for cost in costs] for key in (*SUMMED, "peak_memory_bytes")}
    known = {key: values for key, values in figures.items() if None not in values}
    summed = {key: sum(known[key]) for key in SUMMED if key in known}
    return {**own, **summed, "peak_memory_bytes": max(known.get("peak_memory_bytes", [None]))}


def _cost(needs: Mapping[str, str], name: str) -> Json:
    """All cost keys; None where the step did not finish or nobody measured."""
    fit, outcome, evaluated = (
        _read(needs.get(f"fit:{name}"), "result.json"),
        _read(needs.get(f"fit:{name}"), "outcome.json"),
        _read(needs.get(f"evaluate:{name}"), "result.json"),
    )
    return {
        "trainable_parameters": fit.get("trainable_parameters"),
        "fit_seconds": fit.get("fit_seconds") or outcome.get("seconds"),
        "train_seconds": fit.get("train_seconds"),
        "trained_tokens": fit.get("trained_tokens"),
        "replay_tokens": fit.get("replay_tokens"),
        "peak_memory_bytes": fit.get("peak_memory_bytes") or outcome.get("peak_memory_bytes"),
        "artifact_bytes": fit.get("artifact_bytes"),
        "evaluate_seconds": evaluated.get("evaluate_seconds"),
        "written_tokens": evaluated.get("written_tokens"),
        "written_tokens_per_row": evaluated.get("written_tokens_per_row"),
        "prompt_tokens": evaluated.get("prompt_tokens"),
    }


def _read(folder: str | None, name: str) -> Json:
    """The JSON object in that file, empty where there is none."""
    path = Path(folder, name) if folder else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}


def _not_finite(figures: Iterable[tuple[str, Interval]]) -> str | None:
    for name, figure in figures:
        if not math.isfinite(figure.value):
            return f"{name} is {figure.value}: the fit has diverged (try a lower learning_rate)"
    return None


def _choose(judged: Sequence[Judged], metric: Metric, settings: Mapping[str, Any]) -> Choice:
    limits = {
        key.removeprefix(LIMIT): value
        for key, value in settings.items()
        if key.startswith(LIMIT) and value is not None
    }
    out = {each.entry["id"]: each.entry["status"] for each in judged if not each.ok}
    contenders = [_contender(each) for each in judged if each.ok]
    choice = choose(metric, contenders, Rule(settings["margin"] * metric.scale, limits), out)
    return replace(choice, reason=choice.reason + reason.searched(_searched_on_validation(judged)))


def _searched_on_validation(judged: Iterable[Judged]) -> dict[str, int]:
    """Of the candidates that looked for the best on the rows that choose: how often they tried."""
    searches = ((each.entry["id"], each.entry.get(kind)) for each in judged if each.ok for kind in SEARCHES)
    return {name: search["trials"] for name, search in searches if search and search["split"] == "validation"}


def _contender(judged: Judged) -> Contender:
    entry = judged.entry
    forgetting = (entry["retention"] or {}).get("forgetting")
    return Contender(
        id=entry["id"],
        rung=entry["rung"],
        trainable_parameters=entry["cost"]["trainable_parameters"],
        records=judged.validation,
        figures={**entry["cost"], "forgetting": forgetting},
        builds_on=judged.builds_on,
    )


def _against_chosen(judged: Sequence[Judged], choice: Choice, metric: Metric) -> dict[str, Json]:
    """By id: the paired difference to the chosen on the test rows, above 0 where the candidate is better."""
    chosen = next((each for each in judged if each.entry["id"] == choice.id), None)
    if chosen is None or not chosen.test:
        return {}
    others = [each for each in judged if each.ok and each is not chosen]
    return {
        each.entry["id"]: {**asdict(paired(metric, each.test, chosen.test)), "relative": metric.relative}
        for each in others
    }
