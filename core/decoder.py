"""The contract of decoders and scorers: how a distribution becomes one answer, and who judges it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, Field

from .method import Settings

if TYPE_CHECKING:
    from .types import Ability, Answer, Example, Sampling, Written


class Writer(ABC):
    """What a decoder may ask of a candidate. Not every base is able to do all of it: see `Decoder.asks`."""

    @property
    @abstractmethod
    def max_new_tokens(self) -> int:
        """The length at which an answer is cut off."""

    @abstractmethod
    def write(
        self, examples: Sequence[Example], sampling: Sampling, count: int = 1
    ) -> Sequence[Sequence[Written]]:
        """`count` answers for each example, drawn apart from each other."""

    def extend(
        self,
        examples: Sequence[Example],
        beginnings: Sequence[Written],
        sampling: Sampling,
        count: int,
        most_tokens: int,
    ) -> Sequence[Sequence[Written]]:
        """`count` ways in which each beginning goes on, by at most so many tokens.

        `beginnings` have not ended, one for each example; `Written("", 0)` is the empty one.
        Text, tokens and log-probability of the result are of beginning and continuation together.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot go on from a beginning")

    def log_probabilities(self, pairs: Sequence[tuple[Example, str]]) -> Sequence[Sequence[float]]:
        """log p (nats) of each token of each example's given answer, the one that ends it included."""
        raise NotImplementedError(f"{type(self).__name__} cannot tell how likely an answer is")


class Decoder(ABC):
    """A way to turn a candidate's distribution into one answer.

    `scored_by` is the setting that names a scorer, as a name or {name: its settings}; `own_scores` are what
    it may name beside scorers. The pipeline builds it and hands it over as `scorer`, None where the setting
    names one of the decoder's own. `judges_beginnings` is whether that scorer is asked of unfinished answers.
    """

    name: ClassVar[str]
    scored_by: ClassVar[str | None] = None
    own_scores: ClassVar[tuple[str, ...]] = ()
    judges_beginnings: ClassVar[bool] = False

    class Settings(Settings):
        """No settings unless a subclass declares some."""

    def __init__(self, settings: BaseModel, scorer: Judge | None = None) -> None:
        self.settings = settings
        self.scorer = scorer

    @classmethod
    def asks(cls, settings: BaseModel) -> tuple[Ability, ...]:
        """What a base must be able to do for this decoder with these settings; checked before a run."""
        return ("write",)

    @abstractmethod
    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[Answer]:
        """One answer for each example."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer to judge. `ended` is False for a beginning that may go on."""

    example: Example
    text: str
    ended: bool = True


class Judge(ABC):
    """A scorer as a decoder is given it: answers that it cannot judge score lowest and are counted."""

    @abstractmethod
    def scores(self, attempts: Sequence[Attempt]) -> list[float]:
        """Higher is better; -inf where the scorer raised, took too long or died."""

    @property
    @abstractmethod
    def faults(self) -> Mapping[str, int]:
        """How many answers could not be judged, by what went wrong."""


class ScorerSettings(Settings):
    """The settings that every scorer has."""

    seconds: float = Field(2.0, gt=0, description="an answer that takes longer to judge scores lowest")


class Scorer(ABC):
    """An external judge of a written answer. It runs in a process of its own, so it may hang or crash.

    `judges_beginnings` is whether it can tell how promising an unfinished answer is. `runs_code` is whether
    its settings name code: such a scorer is only built from a user's config, never from a saved candidate.
    """

    name: ClassVar[str]
    judges_beginnings: ClassVar[bool] = False
    runs_code: ClassVar[bool] = False

    class Settings(ScorerSettings):
        """The time limit alone unless a subclass declares more."""

    def __init__(self, settings: ScorerSettings) -> None:
        self.settings = settings

    @classmethod
    def settled(cls, settings: Any) -> ScorerSettings:
        """Called once when a config is checked, with absolute paths. Return the settings that are kept.

        What lies in files is put in, since a candidate is also used where these files are not. Raises
        InputError for what cannot be used.
        """
        kept: ScorerSettings = settings
        return kept

    @abstractmethod
    def score(self, example: Example, answer: str, ended: bool) -> float:
        """Higher is better. `example.expected` is empty: what is served has no right answer to look at."""
