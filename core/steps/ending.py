"""How a run ended, judged by what became of its steps. A failed candidate is a row in the table, no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .execute import Outcome, of_the_run


@dataclass(frozen=True, slots=True)
class Ending:
    """`exit_code` as the command returns it; `message` is empty when the run is done.

    `traceback` is that of the child whose failure this is, if it left one.
    """

    exit_code: int
    message: str = ""
    traceback: str = ""

    @property
    def status(self) -> str:
        return "failed" if self.exit_code else "ok"


def ending(outcomes: Mapping[str, Outcome]) -> Ending:
    """The ending of a run, from the outcome of each of its nodes in order."""
    broken = broken_ending(outcomes)
    if broken is not None:
        return broken
    compared = outcomes["compare"].result or {}
    if not any(candidate["status"] == "ok" for candidate in compared["candidates"]):
        return Ending(1, compared["choice"]["reason"])
    return Ending(0)


def broken_ending(outcomes: Mapping[str, Outcome]) -> Ending | None:
    """The ending by the first step that belongs to no single candidate and was not done; None if all were."""
    broken = [node_id for node_id in of_the_run(outcomes) if not outcomes[node_id].done]
    for node_id in broken:
        failure = outcomes[node_id].failure
        if outcomes[node_id].status == "failed" and failure:
            return Ending(failure.exit_code, failure.message, failure.traceback)
    return Ending(1, f"{broken[0]} was not done") if broken else None
