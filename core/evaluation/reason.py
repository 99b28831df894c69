"""The words in which a choice is told: who was taken, how far from the best, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .table import short

if TYPE_CHECKING:
    from ..metric import Metric
    from .choose import Ranking, Standing
    from .compare import Difference


def nobody(left_out: Mapping[str, str]) -> str:
    return "Nothing was chosen: no candidate is left." + _left_out(left_out)


def no_rows(left_out: Mapping[str, str]) -> str:
    return "Nothing was chosen: there are no validation rows (`data.validation`)." + _left_out(left_out)


def searched(trials: Mapping[str, int]) -> str:
    """A sentence on candidates that looked for the best on the validation rows, by their trials; or none."""
    if not trials:
        return ""
    named = ", ".join(f"{name} (the best of {number} trials)" for name, number in trials.items())
    return (
        f" Searched on the validation rows themselves: {named}; such figures lean to the good side there, "
        "and not on test rows."
    )


def why(metric: Metric, ranking: Ranking, margin: float, left_out: Mapping[str, str]) -> str:
    """A sentence on the choice; where it applies, one on too few rows, and one on who is out."""
    lower = ranking.standings[: ranking.standings.index(ranking.chosen)]
    if ranking.chosen is not ranking.best:
        told = _near_the_best(metric, ranking, margin)
    elif lower:
        told = _above(metric, ranking, _nearest(lower), margin)
    else:
        told = _lowest_and_best(metric, ranking)
    return told + _too_few_rows(metric, lower, margin) + _left_out(left_out)


def _near_the_best(metric: Metric, ranking: Ranking, margin: float) -> str:
    chosen, best = ranking.chosen, ranking.best
    return (
        f"{_named(chosen)} is the lowest on the ladder that is shown to be within {_amount(margin, metric)} "
        f"of the best, {_named(best)}: {metric.name} {short(chosen.value)} against {short(best.value)} on "
        f"{_rows(chosen.shortfall)}, {_told(chosen.shortfall, metric)}."
    )


def _above(metric: Metric, ranking: Ranking, nearest: Standing, margin: float) -> str:
    best = ranking.best
    return (
        f"{_named(best)} is the best ({metric.name} {short(best.value)} on {_rows(best.shortfall)}), and "
        f"none lower on the ladder is shown to be within {_amount(margin, metric)} of it: the nearest, "
        f"{_named(nearest)}, has {short(nearest.value)}, {_told(nearest.shortfall, metric)}."
    )


def _lowest_and_best(metric: Metric, ranking: Ranking) -> str:
    best = ranking.best
    figure = f"{metric.name} {short(best.value)} on {_rows(best.shortfall)}"
    if len(ranking.standings) == 1:
        return f"{_named(best)} is the only candidate to choose from: {figure}."
    return f"{_named(best)} is the lowest on the ladder, and none is better: {figure}."


def _too_few_rows(metric: Metric, lower: Sequence[Standing], margin: float) -> str:
    """On the nearest of those passed over that more rows might have shown to be good enough.

    So many rows narrow the interval to the margin either way: then a candidate that is truly level with the
    best is shown to be near it five times in six (1.96 errors are the margin; it may fall 0.96 short).
    """
    open_still = [each for each in lower if _is_open(each.shortfall, margin)]
    if not open_still:
        return ""
    nearest = _nearest(open_still)
    shortfall = nearest.shortfall
    return (
        f" {_named(nearest)}, worse by {_amount(shortfall.value, metric)}, cannot be told from the best by "
        f"{_counted(shortfall.rows)}; about {_counted(shortfall.rows_to_settle(margin))} would settle it."
    )


def _is_open(difference: Difference, margin: float) -> bool:
    """Whether it may be none at all, on fewer rows than would settle it. One row leaves anything open."""
    may_be_none = difference.low <= 0 or difference.rows == 1
    return may_be_none and margin > 0 and difference.rows < difference.rows_to_settle(margin)


def _nearest(standings: Sequence[Standing]) -> Standing:
    return min(standings, key=lambda each: each.shortfall.value)


def _left_out(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    return " Left out: " + "; ".join(f"{name} ({reason})" for name, reason in left_out.items()) + "."


def _named(standing: Standing) -> str:
    return f"{standing.contender.id} (rung {standing.contender.rung:g})"


def _told(difference: Difference, metric: Metric) -> str:
    """`worse by 0.012 (95 % interval -0.01 to 0.04, standard error 0.013)`."""
    low, high = _amount(difference.low, metric), _amount(difference.high, metric)
    worse, error = _amount(difference.value, metric), _amount(difference.standard_error, metric)
    return f"worse by {worse} (95 % interval {low} to {high}, standard error {error})"


def _rows(difference: Difference) -> str:
    return _counted(difference.rows, "validation row")


def _counted(rows: int, noun: str = "row") -> str:
    return f"{rows:,} {noun}" + ("" if rows == 1 else "s")


def _amount(figure: float, metric: Metric) -> str:
    """A difference in the metric's units; of relative metrics, in per cent."""
    return f"{short(100 * figure, 2)} %" if metric.relative else short(figure, 2)
