"""Reconstruction error: the mean squared difference of rows' numbers from what a candidate makes of them.

Of candidates that keep something of a row, such as its code. Two are compared by the ratio of their errors.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [ReconstructionError]


class ReconstructionError(Metric):
    name = "reconstruction_error"
    higher_is_better = False
    relative = True

    def applies(self, records: Sequence[Record]) -> bool:
        return all(self.name in record.figures for record in records)

    def row(self, record: Record) -> float | None:
        return record.figures.get(self.name)
