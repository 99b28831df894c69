"""The test rows part by part, and the metric that tells of a part.

A part is a value of one column of `data.slices`, or, where the answers are a closed set, an expected answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..metric import Metric
from ..types import Record
from .intervals import row_scores

EXPECTED = "expected"
"""Stands in the place of a column where the rows are parted by their expected answer."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The records (at least one) that have `value` in `column`."""

    column: str
    value: str
    records: Sequence[Record]

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"


def slices(records: Sequence[Record], closed: bool) -> list[Slice]:
    """Every part of `records`, by column, then by value; `closed`: by the expected answer too."""
    parts: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        for key in _keys(record, closed):
            parts.setdefault(key, []).append(record)
    return [Slice(column, value, parts[column, value]) for column, value in sorted(parts)]


def metric_of(part: Slice, metrics: Sequence[Metric]) -> Metric:
    """The first of `metrics`, which chooses; where one answer is expected, the first that is a mean of rows.

    An average over answers (macro F1) says little of rows that all expect the same one.
    """
    if part.column != EXPECTED:
        return metrics[0]
    applying = (metric for metric in metrics if metric.applies(part.records))
    means = (metric for metric in applying if row_scores(metric, part.records) is not None)
    return next(means, metrics[0])


def _keys(record: Record, closed: bool) -> Iterator[tuple[str, str]]:
    yield from record.slices.items()
    if closed:
        yield EXPECTED, record.expected
