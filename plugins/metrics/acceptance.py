"""Acceptance: the share of samples that an independent classifier takes to be of the asked label.

The classifier is that of core/evaluation/samples.py: fitted to the records' real rows, which no method was
fitted to, and free to accept nothing. Intervals are over samples, with the classifier as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.evaluation.samples import Classifier, comparable, samples_of
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [Acceptance]


class Acceptance(Metric):
    name = "acceptance"

    def applies(self, records: Sequence[Record]) -> bool:
        return comparable(records)

    def value(self, records: Sequence[Record]) -> float:
        return float(self.resampled(records, np.ones((1, len(records))))[0])

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        samples = samples_of(records)
        accepted = Classifier.of(samples).accepts(samples.sampled, samples.labels)
        shares: NDArray[np.float64] = counts @ accepted / counts.sum(axis=1)
        return shares
