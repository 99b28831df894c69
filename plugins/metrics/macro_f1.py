"""Macro F1: the F1 of each label, averaged over the labels so that rare ones count as much as common ones.

A label's F1 is 2 x hits / (times expected + times predicted), 0 where it is never hit. The labels are
those seen as expected or predicted, as in scikit-learn's f1_score(average="macro", zero_division=0).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [MacroF1]


class MacroF1(Metric):
    name = "macro_f1"

    def value(self, records: Sequence[Record]) -> float:
        once = np.ones((1, len(records)))
        return float(self.resampled(records, once)[0])

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        expected, predicted = one_hot(records)
        hits = counts @ expected.multiply(predicted)  # [resamples, labels]
        seen = counts @ (expected + predicted)  # [resamples, labels]
        scores = np.divide(2 * hits, seen, out=np.zeros_like(seen), where=seen > 0)
        mean: NDArray[np.float64] = scores.sum(axis=1) / np.count_nonzero(seen, axis=1)
        return mean


def one_hot(records: Sequence[Record]) -> tuple[csr_array, csr_array]:
    """Two sparse [rows, labels] matrices of 0 and 1: each row's expected and its predicted label."""
    rows = len(records)
    answers = [record.expected for record in records] + [record.predicted for record in records]
    position = {label: index for index, label in enumerate(dict.fromkeys(answers))}
    columns = np.array([position[answer] for answer in answers])

    def matrix(labels: NDArray[np.int64]) -> csr_array:
        return csr_array((np.ones(rows), (np.arange(rows), labels)), shape=(rows, len(position)))

    return matrix(columns[:rows]), matrix(columns[rows:])
