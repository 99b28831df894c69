"""Mean absolute error: how far the predicted numbers lie from the expected ones, in their own unit.

Two candidates are compared by the ratio of their errors: a margin of 0.03 allows an error that is 3 % larger,
whatever the unit. What an answer without a number counts is said in core/evaluation/numbers.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.data.numbers import number_in
from ...core.evaluation.numbers import expected_and_predicted
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [MeanAbsoluteError]


class MeanAbsoluteError(Metric):
    name = "mean_absolute_error"
    higher_is_better = False
    relative = True

    def row(self, record: Record) -> float | None:
        """None for an answer without a number: what that counts depends on the other rows."""
        number = number_in(record.predicted)
        return None if number is None else abs(number - float(record.expected))

    def value(self, records: Sequence[Record]) -> float:
        return float(errors(records).mean())

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = counts @ errors(records) / counts.sum(axis=1)
        return means


def errors(records: Sequence[Record]) -> NDArray[np.float64]:
    """[rows], not negative."""
    expected, predicted = expected_and_predicted(records)
    return np.abs(predicted - expected)
