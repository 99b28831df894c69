"""Spearman's rank correlation: whether the predicted numbers have the order of the expected ones; -1 to 1.

Source: Spearman 1904, "The Proof and Measurement of Association between Two Things". Pearson's correlation
of the ranks, equal numbers sharing the mean of theirs, as in scipy.stats.spearmanr. Where either side never
changes it has no order, and the figure is 0 (scipy's is undefined). What an answer without a number counts
is said in core/evaluation/numbers.py.
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
Array = NDArray[np.float64]


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [Spearman]


class Spearman(Metric):
    name = "spearman"

    def value(self, records: Sequence[Record]) -> float:
        once = np.ones((1, len(records)))
        return float(self.resampled(records, once)[0])

    def resampled(self, records: Sequence[Record], counts: Array) -> Array:
        expected, predicted = (centred_ranks(numbers, counts) for numbers in expected_and_predicted(records))
        both = (counts * expected * predicted).sum(axis=1)
        spread = np.sqrt((counts * expected**2).sum(axis=1) * (counts * predicted**2).sum(axis=1))
        ordered = spread > ROUNDING * counts.sum(axis=1)
        figures: Array = np.divide(both, spread, out=np.zeros_like(both), where=ordered)
        return figures


def centred_ranks(numbers: Array, counts: Array) -> Array:
    """Ranks of `numbers` [rows] in each resample of `counts`, less their mean there: [resamples, rows].

    A number that was drawn k times has the k places after those of all smaller ones, and the mean of them.
    """
    _, group = np.unique(numbers, return_inverse=True)
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    drawn = np.add.reduceat(counts[:, order], begins, axis=1)  # [resamples, different numbers]
    ranks = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    mean = (counts.sum(axis=1, keepdims=True) + 1) / 2
    centred: Array = ranks[:, group] - mean
    return centred
