"""Where, as training rows grow, another candidate becomes the best, and whether the rows judged by show it.

Between two points the figures are taken to move in a straight line on the logarithm of one more than the
training rows: scores mostly fall along it until they level off (Hestness et al. 2017, "Deep Learning Scaling
is Predictable, Empirically", arXiv:1712.00409, figure 1), and 0 rows have a place on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..metric import Metric
from ..types import Record
from .choose import best_of
from .compare import Difference, paired


@dataclass(frozen=True, slots=True)
class Point:
    """The candidates that finished with so many training rows, lowest rung first, with what they answered."""

    rows: int
    records: Mapping[str, Sequence[Record]]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Between two points of training rows, `above` takes the first place from `below`.

    `at` is where their lines meet; None where one of them lacks a figure. The differences, paired, are how
    far each is ahead: `below` at the lower point, `above` at the upper one; None without the other's figure.
    """

    below: str
    above: str
    low_rows: int
    high_rows: int
    at: float | None = None
    before: Difference | None = None
    after: Difference | None = None

    @property
    def settled(self) -> bool:
        """Whether both differences are shown not to be noise: their 95 % intervals do not hold 0."""
        return all(each is None or each.low > 0 for each in (self.before, self.after))


def best_at(metric: Metric, point: Point) -> str | None:
    """Whose figure is the best at the point: of equals the lowest rung; None where nobody finished."""
    if not point.records:
        return None
    sign = 1.0 if metric.higher_is_better else -1.0
    goodness = [sign * metric.value(records) for records in point.records.values()]
    return list(point.records)[int(best_of(np.array(goodness)))]


def crossings(metric: Metric, points: Sequence[Point]) -> list[Crossing]:
    """One for each change of the best from a point to the next, of those at which somebody finished."""
    found = [(point, best) for point in points if (best := best_at(metric, point)) is not None]
    return [
        _crossing(metric, below, above, low, high)
        for (low, below), (high, above) in pairwise(found)
        if below != above
    ]


def _crossing(metric: Metric, below: str, above: str, low: Point, high: Point) -> Crossing:
    before = _ahead(metric, low, below, above)
    after = _ahead(metric, high, above, below)
    at = None
    if before and after:
        at = meeting(low.rows, high.rows, before.value, after.value)
    return Crossing(below, above, low.rows, high.rows, at, before, after)


def _ahead(metric: Metric, point: Point, one: str, other: str) -> Difference | None:
    records = point.records
    return paired(metric, records[one], records[other]) if {one, other} <= records.keys() else None


def meeting(low_rows: int, high_rows: int, before: float, after: float) -> float:
    """Where a lead of `before` at one point and a lag of `after` at the other would be none; both >= 0."""
    low, high = math.log1p(low_rows), math.log1p(high_rows)
    share = before / (before + after) if before + after > 0 else 0.0
    return math.expm1(low + share * (high - low))
