"""Somebody must have approved the challenger, by `stepladder approve`."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [Manual]


class Manual(Gate):
    """Passes where the challenger is approved."""

    name = "manual"

    def judge(self, contest: Contest) -> Verdict:
        approved = bool(contest.approval)
        version = contest.challenger.version
        command = f"stepladder approve {contest.name} --version {version}"
        reason = f"approved by {contest.approval}" if approved else f"nobody has approved it yet: {command}"
        return Verdict(approved, reason, {"approved": float(approved)})
