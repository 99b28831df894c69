"""Accuracy: the share of rows whose predicted answer equals the expected one, character by character."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [Accuracy]


class Accuracy(Metric):
    name = "accuracy"

    def row(self, record: Record) -> float:
        return float(record.predicted == record.expected)
