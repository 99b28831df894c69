"""The challenger must be small enough to be kept and moved."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ...core.gate import Contest, Gate, Verdict
from ...core.hookspecs import hookimpl

MEGABYTE = 1_000_000


@hookimpl
def stepladder_gates() -> Sequence[type[Gate]]:
    return [Size]


class Size(Gate):
    """Passes where the candidate's own files, without the base that they need, are at most so large."""

    name = "size"

    class Settings(Gate.Settings):
        most_megabytes: float = Field(gt=0, description="of 1,000,000 bytes; the base does not count")

    settings: Settings

    def judge(self, contest: Contest) -> Verdict:
        size = contest.challenger.entry["cost"]["artifact_bytes"]
        if size is None:
            return Verdict(False, "the size of its files was not measured")
        megabytes, most = size / MEGABYTE, self.settings.most_megabytes
        reason = f"its files have {megabytes:,.4g} MB, allowed are at most {most:g} MB"
        return Verdict(megabytes <= most, reason, {"megabytes": megabytes})
