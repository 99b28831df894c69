"""The contract of gates: what a promotion is judged by, and what is said of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from .method import Settings

if TYPE_CHECKING:
    from .metric import Metric
    from .types import Record


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says, with the figures it said it by."""

    passed: bool
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """A model version as gates see it.

    `entry` is its entry of the result.json of the run that made it, `records` are its answers to test rows
    of the challenger, `seconds_per_row` wall seconds of some of them answered one at a time, on the machine
    that judges.
    """

    version: str
    entry: Mapping[str, Any]
    records: Sequence[Record]
    seconds_per_row: Sequence[float] = ()


@dataclass(frozen=True)
class Contest:
    """A promotion that gates judge. `champion` is None where there is none yet, and where it could not be
    scored; then `champion_fault` says why.

    `metrics` are the task's, first the one that chooses. `excluded` counts the challenger's test rows that
    the champion was trained on: it is not scored on them. `approval` says who approved the challenger,
    `name` is that of the registered model, `labels` the closed set of answers (empty for an open task).
    """

    challenger: Contestant
    champion: Contestant | None
    metrics: Mapping[str, Metric]
    champion_fault: str = ""
    excluded: int = 0
    approval: str = ""
    name: str = ""
    labels: Sequence[str] = ()

    def paired(self) -> tuple[list[Record], list[Record]]:
        """The records of challenger and champion on the rows that both answered, in the same order."""
        assert self.champion is not None, "asked for where there is a champion"
        ours = {record.id: record for record in self.challenger.records}
        theirs = [record for record in self.champion.records if record.id in ours]
        return [ours[record.id] for record in theirs], theirs


class Gate(ABC):
    """A condition on a promotion."""

    name: ClassVar[str]

    class Settings(Settings):
        """No settings unless a subclass declares some."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    @abstractmethod
    def judge(self, contest: Contest) -> Verdict:
        """Whether the challenger may become the champion, as far as this gate goes."""
