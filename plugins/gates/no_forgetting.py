"""The challenger must not have forgotten more than so much of what its base knew."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [NoForgetting]


class NoForgetting(Gate):
    """Passes where perplexity on the retain text has risen by at most this share; unmeasured is a no."""

    name = "no_forgetting"

    class Settings(Gate.Settings):
        most: float = Field(0.05, ge=0, description="perplexity after / perplexity before - 1")

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        retention = contest.challenger.entry["retention"]
        if retention is None:
            return Verdict(
                False, "forgetting was not measured: name a text under `retain` in the run's config"
            )
        forgetting, most = retention["forgetting"], self.settings.most
        reason = (
            f"perplexity on the retain text went from {retention['perplexity_before']:.4g} to "
            f"{retention['perplexity_after']:.4g}, by {forgetting:+.2%}; allowed is at most {most:+.2%}"
        )
        return Verdict(forgetting <= most, reason, retention)
