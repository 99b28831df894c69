"""The challenger must score better than the champion on the same rows, none of them the champion's own."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ...core.evaluation.choose import ROUNDING
from ...core.evaluation.compare import Difference, paired
from ...core.evaluation.judging import amount, choosing, interval, without_champion
from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [BetterThanChampion]


class BetterThanChampion(Gate):
    """Passes where the paired difference, by the metric that chooses, is at least `margin`."""

    name = "better_than_champion"

    class Settings(Gate.Settings):
        margin: float = Field(
            0.0,
            description="a share of the metric's scale; 0: at least level; below 0: how much worse it may be",
        )

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        if verdict := without_champion(contest):
            return verdict
        metric = choosing(contest)
        ours, theirs = contest.paired()
        values = {"challenger": metric.value(ours), "champion": metric.value(theirs)}
        difference = paired(metric, ours, theirs)
        asked = self.settings.margin * metric.scale
        return Verdict(
            difference.value >= asked - ROUNDING,
            f"{metric.name} {values['challenger']:.4g} against the champion's {values['champion']:.4g} on "
            f"{_rows(difference, contest.excluded)}: better by {amount(difference.value, metric)} "
            f"({interval(difference, metric)}), asked for is at least {amount(asked, metric)}",
            {**values, **_figures(difference), "excluded": contest.excluded},
        )


def _rows(difference: Difference, excluded: int) -> str:
    left_out = f" ({excluded} more, which the champion was trained on, are left out)" if excluded else ""
    return f"{difference.rows} rows{left_out}"


def _figures(difference: Difference) -> dict[str, float]:
    about = {"low": difference.low, "high": difference.high, "rows": difference.rows}
    return {"difference": difference.value, **about}
