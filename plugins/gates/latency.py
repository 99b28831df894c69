"""The challenger must answer fast enough, one row at a time, on the machine that judges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [Latency]


class Latency(Gate):
    """Passes where so large a share of the timed rows is answered within `most_seconds`."""

    name = "latency"

    class Settings(Gate.Settings):
        most_seconds: float = Field(gt=0, description="wall seconds of one row, answered alone")
        quantile: float = Field(0.95, gt=0, le=1, description="the share of rows that must be so fast")

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        timed = contest.challenger.seconds_per_row
        if not timed:
            return Verdict(False, "no row was timed: there are no test rows")
        share, most = self.settings.quantile, self.settings.most_seconds
        seconds = _quantile(timed, share)
        reason = (
            f"{share * 100:g} % of {len(timed)} rows, each answered alone, took at most {seconds:.4g} s, "
            f"allowed is {most:g} s"
        )
        figures = {"seconds": seconds, "median": _quantile(timed, 0.5), "rows": len(timed)}
        theirs = contest.champion.seconds_per_row if contest.champion else ()
        compared = {"champion_seconds": _quantile(theirs, share)} if theirs else {}
        return Verdict(seconds <= most, reason, {**figures, **compared})


def _quantile(seconds: Sequence[float], share: float) -> float:
    """The fastest time within which at least this share of the rows was answered."""
    return float(np.quantile(seconds, share, method="inverted_cdf"))
