"""The challenger must reach a figure on its test rows, whatever the champion does."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ...core.errors import PluginError, did_you_mean
from ...core.evaluation.intervals import measure
from ...core.evaluation.judging import choosing
from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl
from ...core.metric import Metric


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [Minimum]


class Minimum(Gate):
    """Passes where the metric is at least `value`; where lower is better, at most `value`."""

    name = "minimum"

    class Settings(Gate.Settings):
        value: float = Field(description="the least (of a metric of which lower is better: the most) allowed")
        metric: str | None = Field(None, description="one of the task's; default: the metric that chooses")

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        metric = _metric(self.settings.metric, contest)
        records = contest.challenger.records
        if not records or not metric.applies(records):
            return Verdict(False, f"{metric.name} cannot be computed of its {len(records)} answers")
        figure, asked = measure(metric, records), self.settings.value
        passed = figure.value >= asked if metric.higher_is_better else figure.value <= asked
        bound = "at least" if metric.higher_is_better else "at most"
        reason = (
            f"{metric.name} is {figure.value:.4g} on {len(records)} rows "
            f"(95 % interval {figure.low:.4g} to {figure.high:.4g}), asked for is {bound} {asked:g}"
        )
        figures = {"value": figure.value, "low": figure.low, "high": figure.high, "rows": len(records)}
        return Verdict(passed, reason, figures)


def _metric(name: str | None, contest: Contest) -> Metric:
    if name is None:
        return choosing(contest)
    if name not in contest.metrics:
        known = ", ".join(contest.metrics)
        raise PluginError(
            f"no metric {name!r} was computed{did_you_mean(name, contest.metrics)}: expected one of {known}"
        )
    return contest.metrics[name]
