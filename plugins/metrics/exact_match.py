"""Exact match: the share of written answers that equal the expected text but for white space.

Before comparing, white space at both ends goes and each run of it inside becomes one space. Nothing
else is changed: case, punctuation and Unicode form count.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [ExactMatch]


def normalised(text: str) -> str:
    return " ".join(text.split())


class ExactMatch(Metric):
    name = "exact_match"

    def row(self, record: Record) -> float:
        return float(normalised(record.predicted) == normalised(record.expected))
