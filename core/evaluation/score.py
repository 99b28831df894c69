"""From predictions to records, their file, and the figures over them.

A predictions file is JSONL: each line has the fields of a Record and `score`, the row's own score under
the metric that chooses (null where that is no mean of row scores).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import StepError
from ..metric import Metric
from ..types import Example, Interval, Prediction, Record
from .intervals import measure


class MetricFailed(StepError):
    """A metric could not be computed of a candidate's answers."""


def records(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Record]:
    """Join each example with what was said of it. Raises StepError where they do not match, in order."""
    if len(examples) != len(predictions):
        raise StepError(f"expected one prediction for each of {len(examples)} rows, got {len(predictions)}")
    return [_record(example, said) for example, said in zip(examples, predictions, strict=True)]


def _record(example: Example, said: Prediction) -> Record:
    if example.id != said.id:
        raise StepError(f"expected the prediction of row {example.id!r}, got that of row {said.id!r}")
    return Record(
        id=example.id,
        input=example.input,
        expected=example.expected,
        predicted=said.predicted,
        scores=said.scores,
        negative_log_likelihood=said.negative_log_likelihood,
        tokens=said.tokens,
        figures=said.figures,
        slices=example.slices,
        task=example.task,
        written_tokens=said.written_tokens,
    )


def write_predictions(path: Path, rows: Sequence[Record], metric: Metric) -> None:
    """Write one line a record, scored by `metric`, the one that chooses."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = {**asdict(row), "score": metric.row(row)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_predictions(path: Path) -> list[Record]:
    """Read back what `write_predictions` wrote; the scores are left out, metrics compute them anew."""
    with path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [Record(**{name: value for name, value in line.items() if name != "score"}) for line in lines]


def evaluate(rows: Sequence[Record], metrics: Sequence[Metric]) -> dict[str, Interval]:
    """Every metric that applies to `rows`, by name; empty where there are no rows.

    Raises MetricFailed where one of them does.
    """
    figures = {metric.name: _figure(metric, rows) for metric in metrics} if rows else {}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _figure(metric: Metric, rows: Sequence[Record]) -> Interval | None:
    try:
        return measure(metric, rows) if metric.applies(rows) else None
    except (Exception, SystemExit) as error:
        raise MetricFailed(
            f"the metric {metric.name} failed: {type(error).__name__}: {error!s:.300}"
        ) from error
