"""The words in which a choice is told: who was taken, how far from the best, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .table import short

if TYPE_CHECKING:
    from ..method import Metric
    from .choose import Ranking, Standing
    from .compare import Difference


def nobody(left_out: Mapping[str, str]) -> str:
    return "Nothing was chosen: no candidate is left." + _left_out(left_out)


def no_rows(left_out: Mapping[str, str]) -> str:
    return "Nothing was chosen: there are no validation rows (`data.validation`)." + _left_out(left_out)


def why(metric: Metric, ranking: Ranking, margin: float, left_out: Mapping[str, str]) -> str:
    """A sentence on the choice; where it applies, one on the rows that would settle it, one on who is out."""
    lower = ranking.standings[: ranking.standings.index(ranking.chosen)]
    if ranking.chosen is not ranking.best:
        difference = ranking.chosen.shortfall
        told = _short_of_best(metric, ranking, margin) + _settled_by(difference, margin)
    elif lower:
        nearest = min(lower, key=lambda each: each.shortfall.value)
        told = _above(metric, ranking, nearest, margin) + _settled_by(nearest.shortfall, margin)
    else:
        told = _lowest_and_best(metric, ranking)
    return told + _left_out(left_out)


def _short_of_best(metric: Metric, ranking: Ranking, margin: float) -> str:
    chosen, best = ranking.chosen, ranking.best
    return (
        f"{_named(chosen)} is the lowest on the ladder within one standard error and the margin of "
        f"{_amount(margin, metric)} from the best, {_named(best)}: {metric.name} {short(chosen.value)} "
        f"against {short(best.value)} on {_rows(chosen.shortfall)}, {_told(chosen.shortfall, metric)}."
    )


def _above(metric: Metric, ranking: Ranking, nearest: Standing, margin: float) -> str:
    best = ranking.best
    return (
        f"{_named(best)} is the best ({metric.name} {short(best.value)} on {_rows(best.shortfall)}), and "
        f"none lower on the ladder is within one standard error and the margin of {_amount(margin, metric)}: "
        f"the nearest, {_named(nearest)}, has {short(nearest.value)}, {_told(nearest.shortfall, metric)}."
    )


def _lowest_and_best(metric: Metric, ranking: Ranking) -> str:
    best = ranking.best
    figure = f"{metric.name} {short(best.value)} on {_rows(best.shortfall)}"
    if len(ranking.standings) == 1:
        return f"{_named(best)} is the only candidate to choose from: {figure}."
    return f"{_named(best)} is the lowest on the ladder, and none is better: {figure}."


def _settled_by(difference: Difference, margin: float) -> str:
    """Nothing where the interval is narrow enough, or lies wholly beyond the margin."""
    settled = margin <= 0 or (difference.spread > 0 and difference.low > margin)
    if settled or difference.rows_to_settle(margin) <= difference.rows:
        return ""
    return (
        f" This is not settled: about {difference.rows_to_settle(margin):,} validation rows instead of "
        f"{difference.rows:,} would narrow the interval to the margin either way."
    )


def _left_out(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    return " Left out: " + "; ".join(f"{name} ({reason})" for name, reason in left_out.items()) + "."


def _named(standing: Standing) -> str:
    return f"{standing.contender.id} (rung {standing.contender.rung:g})"


def _told(difference: Difference, metric: Metric) -> str:
    """`worse by 0.012 (95 % interval -0.01 to 0.04, standard error 0.013)`, or that they are level."""
    if difference.value == difference.standard_error == 0:
        return "the same on every row"
    low, high = _amount(difference.low, metric), _amount(difference.high, metric)
    error = _amount(difference.standard_error, metric)
    level = "level with it" if difference.value == 0 else f"worse by {_amount(difference.value, metric)}"
    return f"{level} (95 % interval {low} to {high}, standard error {error})"


def _rows(difference: Difference) -> str:
    return f"{difference.rows:,} validation row" + ("" if difference.rows == 1 else "s")


def _amount(figure: float, metric: Metric) -> str:
    """A difference in the metric's units; of relative metrics, in per cent."""
    return f"{short(100 * figure, 2)} %" if metric.relative else short(figure, 2)
