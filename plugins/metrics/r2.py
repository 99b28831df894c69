"""R2: the share of the expected numbers' variance that the predicted ones explain; 1 is best, 0 as the mean.

As scikit-learn's r2_score, where all expected numbers are the same it is 1 if every answer is right and 0
otherwise; so it is of a single row, of which scikit-learn says nothing. What an answer without a number
counts is said in core/evaluation/numbers.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.evaluation.numbers import expected_and_predicted
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

ROUNDING = 1e-12


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [R2]


class R2(Metric):
    name = "r2"

    def value(self, records: Sequence[Record]) -> float:
        once = np.ones((1, len(records)))
        return float(self.resampled(records, once)[0])

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        expected, predicted = expected_and_predicted(records)
        centred = expected - expected.mean()  # [rows]; squares of large numbers would lose their differences
        squares = counts @ centred**2  # [resamples]
        total = squares - (counts @ centred) ** 2 / counts.sum(axis=1)
        left = counts @ (expected - predicted) ** 2
        varied = total > ROUNDING * squares
        explained = 1 - np.divide(left, total, out=np.ones_like(left), where=varied)
        figures: NDArray[np.float64] = np.where(~varied & (left == 0), 1.0, explained)
        return figures
