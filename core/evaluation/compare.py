"""How far two candidates differ on the same rows: paired, so that rows hard for both do not count.

Sources: McNemar 1947 (the exact test); Bonett and Price 2012, "Adjusted Wald confidence interval for a
difference of binomial proportions based on paired data"; Student's t for other row scores; a paired
bootstrap where the figure is no mean of rows, or is compared by its ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm, t

from ..errors import StepError
from ..metric import Metric
from ..types import Record
from .intervals import LEVEL, Array, bootstrap, is_binary, percentiles, row_scores

Z = float(norm.ppf((1 + LEVEL) / 2))
SMALLEST = 1e-9
"""A relative figure below it, such as no error at all, counts as it: nothing is a share of 0."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours minus theirs, turned so that above 0 ours is better; with its 95 % interval.

    In the metric's units; for relative metrics of the logarithms, so 0.03 means 3 %. `spread` is the
    variance of the difference of one row, `p_value` McNemar's (two-sided; None unless scores are 0 and 1).
    """

    value: float
    low: float
    high: float
    standard_error: float
    rows: int
    spread: float
    p_value: float | None = None

    def rows_to_settle(self, margin: float) -> int:
        """How many such rows give an interval that reaches no further than `margin` (> 0) to either side.

        Rows that show no spread at all leave room for 3 in as many that would (the rule of three).
        """
        return math.ceil(self.spread * (Z / margin) ** 2 if self.spread else 3 / margin)


def paired(metric: Metric, ours: Sequence[Record], theirs: Sequence[Record]) -> Difference:
    """Compare two candidates on the same rows (at least one), in the same order; StepError if they differ."""
    _check_rows(ours, theirs)
    sign = 1.0 if metric.higher_is_better else -1.0
    our_scores, their_scores = row_scores(metric, ours), row_scores(metric, theirs)
    if metric.relative or our_scores is None or their_scores is None:
        return _resampled(metric, ours, theirs, sign)
    differences = sign * (our_scores - their_scores)
    if is_binary(our_scores) and is_binary(their_scores):
        return _of_binary(differences)
    return _of_means(differences)


def standard_error(mean: Array, mean_square: Array, rows: int) -> Array:
    """Of the mean of `rows` differences, given their mean and mean square (any shape).

    One row shows no spread: 0.
    """
    variance = np.maximum(mean_square - mean**2, 0.0)
    error: Array = np.sqrt(variance / max(rows - 1, 1))
    return error


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p-value, from the rows that only one of the two has right."""
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _of_binary(differences: Array) -> Difference:
    """Differences [rows] of -1, 0 and 1.

    Interval and spread count one more row either way, as Bonett and Price do: two candidates that agree
    on all of a few rows are not thereby proven equal.
    """
    rows = len(differences)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    centre = (better - worse) / (rows + 2)
    spread = (better + worse + 2) / (rows + 2) - centre**2
    reach = Z * math.sqrt(spread / (rows + 2))
    value = (better - worse) / rows
    return Difference(
        value=value,
        low=max(centre - reach, -1.0),
        high=min(centre + reach, 1.0),
        standard_error=_error_of(differences),
        rows=rows,
        spread=spread,
        p_value=mcnemar(better, worse),
    )


def _of_means(differences: Array) -> Difference:
    rows = len(differences)
    value, error = float(differences.mean()), _error_of(differences)
    reach = float(t.ppf((1 + LEVEL) / 2, rows - 1)) * error if rows > 1 else 0.0
    return Difference(value, value - reach, value + reach, error, rows, spread=error**2 * rows)


def _error_of(differences: Array) -> float:
    return float(standard_error(differences.mean(), (differences**2).mean(), len(differences)))


def _resampled(metric: Metric, ours: Sequence[Record], theirs: Sequence[Record], sign: float) -> Difference:
    def figures(records: Sequence[Record]) -> Array:
        """[1 + resamples]: the metric over all rows, then over each resample."""
        raw = np.concatenate([[metric.value(records)], bootstrap(metric, records)])
        return np.log(np.maximum(raw, SMALLEST)) if metric.relative else raw

    differences = sign * (figures(ours) - figures(theirs))
    value, resamples = float(differences[0]), differences[1:]
    low, high = percentiles(resamples)
    error = float(resamples.std(ddof=1))
    rows = len(ours)
    return Difference(value, min(low, value), max(high, value), error, rows, spread=error**2 * rows)


def _check_rows(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    if len(ours) != len(theirs):
        raise StepError(
            f"two candidates can only be compared on the same rows: {len(ours)} and {len(theirs)}"
        )
    for mine, other in zip(ours, theirs, strict=True):
        if mine.id != other.id:
            raise StepError(
                f"two candidates can only be compared on the same rows: {mine.id!r} is against {other.id!r}"
            )
