"""The challenger must score better than the champion on the same rows, none of them the champion's own."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ...core.evaluation.compare import Difference, paired
from ...core.hookspecs import hookimpl
from ...core.method import Contest, Gate, Metric, Settings, Verdict


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [BetterThanChampion]


class BetterThanChampion(Gate):
    """Passes where the paired difference, by the metric that chooses, is at least `margin`.

    The first champion has nobody to be better than. A champion that cannot be scored is no reason to trust
    the challenger: the gate says no.
    """

    name = "better_than_champion"

    class Settings(Settings):
        margin: float = Field(
            0.0, description="by how much it must be better; below 0: how much worse it may be"
        )

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        if contest.champion_fault:
            return Verdict(False, f"the champion could not be scored: {contest.champion_fault}")
        if contest.champion is None:
            return Verdict(True, "there is no champion yet")
        ours, theirs = contest.paired()
        if not ours:
            return Verdict(
                False, f"the champion was trained on all {contest.excluded} test rows", {"rows": 0}
            )
        metric = next(iter(contest.metrics.values()))
        return self._verdict(contest, metric, paired(metric, ours, theirs))

    def _verdict(self, contest: Contest, metric: Metric, difference: Difference) -> Verdict:
        margin, value = self.settings.margin, difference.value
        without = f" ({contest.excluded} that the champion was trained on are left out)"
        reason = (
            f"{metric.name} differs by {value:+.4f} from the champion's on {difference.rows} rows"
            f"{without if contest.excluded else ''}, at least {margin:+g} is asked for "
            f"(95 % interval {difference.low:+.4f} to {difference.high:+.4f})"
        )
        figures = {"difference": value, "low": difference.low, "high": difference.high}
        counts = {"rows": difference.rows, "excluded": contest.excluded}
        return Verdict(value >= margin, reason, {**figures, **counts})
