"""The challenger must not be worse than the champion on any part of the test rows.

Each part is compared pair by pair (core/evaluation/compare.py). Of many parts one looks worse by chance, so
the intervals are made to hold for all of them at once (Dunn 1961, "Multiple comparisons among means"). Two
equal models that differ on a tenth of the rows would be refused every second time on 150 labels of 30 rows
by intervals of one part each, and are hardly ever by these; a label that loses 12 of its 30 rows still is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field
from scipy.stats import norm

from ...core.evaluation.choose import ROUNDING
from ...core.evaluation.compare import Difference, paired
from ...core.evaluation.intervals import LEVEL
from ...core.evaluation.judging import amount, without_champion
from ...core.evaluation.slices import metric_of, slices
from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl
from ...core.metric import Metric

TOLD = 3


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [NoRegressionBySlice]


@dataclass(frozen=True, slots=True)
class Compared:
    """A slice, and how much better the challenger is there: the difference and its upper end, over rows."""

    name: str
    metric: Metric
    value: float
    at_best: float
    rows: int

    def is_worse_by(self, margin: float) -> bool:
        """By more than the margin, and beyond doubt."""
        return self.value < -margin * self.metric.scale - ROUNDING and self.at_best < 0

    def __str__(self) -> str:
        value, at_best = amount(self.value, self.metric), amount(self.at_best, self.metric)
        return f"{self.name} {value} on {self.rows} rows (at best {at_best})"


def at_best(difference: Difference, looks: int) -> float:
    """The upper end of an interval that holds at 95 % for so many differences at once."""
    widening = norm.isf((1 - LEVEL) / 2 / looks) / norm.isf((1 - LEVEL) / 2)
    return float(difference.value + widening * (difference.high - difference.value))


class NoRegressionBySlice(Gate):
    """Refuses where a slice of enough rows is worse by more than the margin, and that beyond doubt.

    Slices are the values of each column of `data.slices`, and the expected answers of a closed set.
    """

    name = "no_regression_by_slice"

    class Settings(Gate.Settings):
        margin: float = Field(0.05, ge=0, description="how much worse a slice may be: a share of the scale")
        rows: int = Field(20, ge=1, description="slices of fewer rows are not judged")

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        if verdict := without_champion(contest):
            return verdict
        compared, small = self._compare(contest)
        if not compared and not small:
            return Verdict(False, "there are no slices: name columns under `data.slices` in the run's config")
        worse = [each for each in compared if each.is_worse_by(self.settings.margin)]
        counts = {"slices": len(compared), "too_small": small, "worse": len(worse)}
        return Verdict(not worse, self._reason(compared, worse, small), {**counts, **_worst(compared)})

    def _compare(self, contest: Contest) -> tuple[list[Compared], int]:
        """The slices that are large enough, from the worst on, and how many are too small."""
        ours, theirs = contest.paired()
        champion = {record.id: record for record in theirs}
        metrics = list(contest.metrics.values())
        parts = slices(ours, closed=bool(contest.labels))
        large = [part for part in parts if len(part.records) >= self.settings.rows]
        compared = []
        for part in large:
            metric = metric_of(part, metrics)
            difference = paired(metric, part.records, [champion[record.id] for record in part.records])
            high = at_best(difference, len(large))
            compared.append(Compared(part.name, metric, difference.value, high, difference.rows))
        compared.sort(key=lambda each: each.value / each.metric.scale)
        return compared, len(parts) - len(large)

    def _reason(self, compared: Sequence[Compared], worse: Sequence[Compared], small: int) -> str:
        few = f"; not judged for fewer than {self.settings.rows} rows: {small}" if small else ""
        if not compared:
            return f"no slice has {self.settings.rows} rows, so none of {small} was judged"
        if not worse:
            return f"clearly worse slices: none of {len(compared)}; the worst is {compared[0]}{few}"
        named = ", ".join(map(str, worse[:TOLD]))
        more = f" and {len(worse) - TOLD} more" if len(worse) > TOLD else ""
        by = f"{self.settings.margin:g}"
        return f"slices worse by more than {by}: {len(worse)} of {len(compared)}: {named}{more}{few}"


def _worst(compared: Sequence[Compared]) -> dict[str, float]:
    if not compared:
        return {}
    worst = compared[0]
    return {"worst": worst.value, "worst_at_best": worst.at_best, "worst_rows": worst.rows}
