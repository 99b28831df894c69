"""A figure over predictions with its 95 % interval.

Means of row scores of 0 and 1 get Wilson's score interval (Wilson 1927, "Probable inference, the law of
succession, and statistical inference"), which holds at few rows and near 0 and 1. Every other figure gets
the percentile interval of a seeded bootstrap over rows (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..metric import Metric
from ..types import Interval, Record

Array = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0
CELLS_AT_ONCE = 4_000_000
"""Resamples are drawn in blocks of so many counts (32 MB), so that many rows need no more memory."""


def measure(metric: Metric, records: Sequence[Record]) -> Interval:
    """The metric over `records` (at least one) with its interval, which always includes the value."""
    scores = row_scores(metric, records)
    if scores is not None and is_binary(scores):
        return wilson(int(scores.sum()), len(scores))
    value = metric.value(records)
    low, high = percentiles(bootstrap(metric, records))
    return Interval(value, min(low, value), max(high, value))


def wilson(hits: int, rows: int) -> Interval:
    """Share of `hits` in `rows` with Wilson's score interval."""
    interval = binomtest(hits, rows).proportion_ci(LEVEL, method="wilson")
    return Interval(hits / rows, float(interval.low), float(interval.high))


def row_scores(metric: Metric, records: Sequence[Record]) -> Array | None:
    """[rows]; None where the metric is no mean of row scores."""
    scores = [score for record in records if (score := metric.row(record)) is not None]
    return np.array(scores, dtype=float) if len(scores) == len(records) else None


def is_binary(scores: Array) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())


def percentiles(figures: Array) -> tuple[float, float]:
    """The ends between which the middle 95 % of `figures` [resamples] lie."""
    low, high = np.quantile(figures, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def bootstrap(metric: Metric, records: Sequence[Record]) -> Array:
    """The metric over 1,000 resamples of the rows: [resamples].

    The draws depend on the number of rows alone, so two candidates on the same rows are resampled alike
    and their figures may be subtracted.
    """
    scores = row_scores(metric, records)
    blocks = draws(len(records))
    if scores is not None:
        return np.concatenate([counts @ scores / len(records) for counts in blocks])
    return np.concatenate([_values(metric, records, counts) for counts in blocks])


def draws(rows: int) -> Iterator[Array]:
    """Blocks [resamples, rows] of how often each row was drawn, 1,000 resamples in all."""
    random = np.random.default_rng(SEED)
    block = max(1, CELLS_AT_ONCE // rows)
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        drawn = random.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(float)


def _values(metric: Metric, records: Sequence[Record], counts: Array) -> Array:
    """The metric of each resample in `counts` [resamples, rows]."""
    figures = metric.resampled(records, counts)
    if figures is not None:
        return figures
    resamples = (np.repeat(np.arange(len(records)), times.astype(int)).tolist() for times in counts)
    return np.array([metric.value([records[row] for row in resample]) for resample in resamples])
