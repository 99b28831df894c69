"""Which candidate is good enough: the lowest rung that the validation rows show to be close to the best.

In reach is a candidate whose shortfall from the best plus one standard error of their paired difference is
within `margin`; the best itself always is. The lowest rung in reach is taken; on one rung, the fewest
trainable parameters, then the fewest other candidates that it builds on, then the better figure.

This reads the one-standard-error rule (Breiman, Friedman, Olshen and Stone 1984, "Classification and
Regression Trees", section 3.4.3) as a test of non-inferiority (Blackwelder 1982, "'Proving the null
hypothesis' in clinical trials"): the burden of proof lies on the lower rung. Within one standard error of
the best, as that rule has it, is the more easily reached the fewer rows there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..metric import Metric
from ..types import Record
from . import reason
from .compare import Difference, paired
from .intervals import Array

ROUNDING = 1e-9
"""0.93 - 0.90 is no more than 0.03, though not in binary; the same rows may add up to another last bit."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A candidate that finished, with its validation records and the figures that limits apply to.

    `builds_on` counts the other candidates that had to be fitted for it.
    """

    id: str
    rung: float
    trainable_parameters: int
    records: Sequence[Record]
    figures: Mapping[str, float | None] = field(default_factory=dict)
    builds_on: int = 0

    @property
    def price(self) -> tuple[float, int, int]:
        """By which of two candidates the ladder takes the one or the other first."""
        return self.rung, self.trainable_parameters, self.builds_on


@dataclass(frozen=True, slots=True)
class Rule:
    """`margin` is in the metric's units, or a share for relative metrics. `limits`: the most of a figure."""

    margin: float = 0.03
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """A contender, its figure, and how much better the best is."""

    contender: Contender
    value: float
    shortfall: Difference


@dataclass(frozen=True, slots=True)
class Ranking:
    """All standings, from the first to take to the last, and two of them: the best and the chosen."""

    standings: Sequence[Standing]
    best: Standing
    chosen: Standing


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen candidate (None: nobody), and why, in words for the user."""

    id: str | None
    reason: str


def choose(
    metric: Metric, contenders: Sequence[Contender], rule: Rule, out: Mapping[str, str] | None = None
) -> Choice:
    """Choose on validation records. `out` names candidates that are not contenders, each with its reason."""
    beyond = {each.id: why for each in contenders if (why := over_limit(each, rule.limits))}
    left_out = {**(out or {}), **beyond}
    allowed = [each for each in contenders if each.id not in beyond]
    if not allowed:
        return Choice(None, reason.nobody(left_out))
    if not allowed[0].records:
        return Choice(None, reason.no_rows(left_out))
    ranking = rank(metric, allowed, rule.margin)
    return Choice(ranking.chosen.contender.id, reason.why(metric, ranking, rule.margin, left_out))


def over_limit(contender: Contender, limits: Mapping[str, float]) -> str | None:
    """Why the contender is out, or None. A figure that was not measured is not within its limit."""
    for name, limit in limits.items():
        figure = contender.figures.get(name)
        if figure is None:
            return f"{name} was not measured, and max_{name} is {limit:g}"
        if figure > limit:
            return f"{name} {figure:.4g} is above max_{name} {limit:g}"
    return None


def rank(metric: Metric, contenders: Sequence[Contender], margin: float) -> Ranking:
    """Order by price, then figure; find the best, and the first in its reach."""
    sign = 1.0 if metric.higher_is_better else -1.0
    goodness = {each.id: sign * metric.value(each.records) for each in contenders}
    ranked = sorted(contenders, key=lambda each: (*each.price, -goodness[each.id]))
    best = int(best_of(np.array([goodness[each.id] for each in ranked])))
    shortfalls = [paired(metric, ranked[best].records, each.records) for each in ranked]
    chosen = first_in_reach(
        np.array([shortfall.value for shortfall in shortfalls]),
        np.array([_error_of(shortfall) for shortfall in shortfalls]),
        margin,
    )
    standings = [
        Standing(each, sign * goodness[each.id], shortfall)
        for each, shortfall in zip(ranked, shortfalls, strict=True)
    ]
    return Ranking(standings, standings[best], standings[int(chosen)])


def best_of(goodness: Array) -> NDArray[np.intp]:
    """Index of the best of [..., candidates]; of equals, the first."""
    best = goodness.max(axis=-1, keepdims=True)
    index: NDArray[np.intp] = (goodness >= best - ROUNDING).argmax(axis=-1)
    return index


def first_in_reach(shortfall: Array, error: Array, margin: float) -> NDArray[np.intp]:
    """Index of the first candidate in reach of the best: shown to be near it, or level with it.

    `shortfall` and its standard `error` are [..., candidates] in the order in which they would be taken;
    the best's own shortfall is 0, so one is always in reach. Where the error alone is beyond the margin,
    nobody else is: so few rows cannot show that a lower rung is good enough. To keep only half an error
    within the margin, or to count one row behind as level, takes bad rungs more often; what was tried, and
    how it fared, is in tests/core/evaluation/test_choose_simulation.py.
    """
    shown = shortfall + error <= margin + ROUNDING
    level = shortfall <= ROUNDING
    index: NDArray[np.intp] = (shown | level).argmax(axis=-1)
    return index


def _error_of(shortfall: Difference) -> float:
    """One row has no spread, which shows nothing: its error is taken as boundless."""
    return shortfall.standard_error if shortfall.rows > 1 else math.inf
