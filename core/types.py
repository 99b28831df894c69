"""The values that pass between the parts: small, frozen, and free of any library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]
SplitName = Literal["train", "validation", "test"]
Origin = Literal["default", "file", "flag"]
# What a base can do: write words, only read them, or write them elsewhere for whoever asks by its URL; `none`
# is of runs whose methods need no base.
BaseKind = Literal["causal", "encoder", "endpoint", "none"]
# What a decoder may ask of a base: whole answers, how likely they are, or to go on from a beginning.
Ability = Literal["write", "likelihood", "extend"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One row after its task has read it: what is asked, and what is right.

    `messages` holds the whole conversation (answer included) for rows that came as one, `options` the
    answers of a row that brings its own; both are empty otherwise. `slices` says in which part of the data
    the row lies, by each column of `data.slices`, and `task`, where there are several tasks of one family,
    of which of them it is, by the column `data.columns.task`.
    """

    id: str
    input: str
    expected: str
    messages: tuple[Message, ...] = ()
    options: tuple[str, ...] = ()
    slices: Mapping[str, str] = field(default_factory=dict, hash=False)
    task: str = ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids and, of the same length, which of them are trained on (True = the model must predict it)."""

    tokens: list[int]
    trained: list[bool]

    def __post_init__(self) -> None:
        assert len(self.tokens) == len(self.trained), "tokens and mask are born together"


class Split(Protocol):
    """The examples of one side of the data, with their prepared tokens; reads from disk as asked."""

    def __len__(self) -> int: ...

    def example(self, index: int) -> Example: ...

    def encoded(self, index: int) -> Encoded: ...

    def examples(self) -> list[Example]: ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a candidate said of one example.

    `scores` maps each possible answer to its log-probability or score where the candidate has one.
    `negative_log_likelihood` (nats, or an upper bound of it) and `tokens` are of the row itself: its text, or
    its numbers. `figures` are what else the candidate can tell of the row, by names that metrics know.
    `written_tokens` counts all that were written for it, for answers that were passed over too.
    """

    id: str
    predicted: str
    scores: Mapping[str, float] | None = None
    negative_log_likelihood: float | None = None
    tokens: int = 0
    written_tokens: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn: temperature 0 is greedy; top_k and top_p cut the tail."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What a candidate wrote for one example, from the first token on.

    `tokens` is the number of those written, the one that ended it included, and `log_probability` (nats)
    their sum under the candidate itself, at temperature 1 with no tail cut; None where the base does not
    tell. `ended` is whether the candidate came to an end, or else to the limit. `ids` are the tokens
    themselves without the end, from which `Writer.extend` goes on; empty where the base shows none.
    """

    text: str
    tokens: int
    log_probability: float | None = None
    ended: bool = True
    ids: tuple[int, ...] = ()

    @property
    def mean_log_probability(self) -> float | None:
        """Nats a token."""
        return None if self.log_probability is None else self.log_probability / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a decoder settled on, and how many tokens were written for it, passed-over answers included."""

    text: str
    written_tokens: int


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a predictions file: an example and what was said of it. Metrics are computed from these."""

    id: str
    input: str
    expected: str
    predicted: str
    scores: Mapping[str, float] | None = None
    negative_log_likelihood: float | None = None
    tokens: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    written_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What the training loop did. Losses and `trained_tokens` are of the rows, without what was replayed.

    `micro_batch_size` is what it ended with, after it was halved so often for want of memory. Of a training
    that was killed, `resumed_from_step` is where it went on the last time; `repeated_tokens` are those that
    it had to train again, which do not count among `trained_tokens`.
    """

    steps: int
    trained_tokens: int
    train_seconds: float
    best_step: int
    best_validation_loss: float | None
    first_loss: float
    last_loss: float
    replay_tokens: int = 0
    micro_batch_size: int | None = None
    halvings: int = 0
    resumed_from_step: int | None = None
    repeated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SearchReport:
    """What was tried out before one was taken.

    `space` holds what was varied, each with the values or the range that it could take, `best` what was
    taken, `value` its figure by `metric` on so many `rows` of that split: the best of several tries on the
    same rows, so that it leans to the good side. `pruned` trials were given up early, `failed` ones could
    not be finished; both are counted among `trials`.
    """

    trials: int
    pruned: int
    failed: int
    split: SplitName
    rows: int
    metric: str
    value: float
    space: Mapping[str, Any]
    best: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class MergeReport:
    """Merged against attached weights: the largest difference of logits on probe rows (natural units)."""

    largest_logit_difference: float
    tokens: int


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    """One candidate of a run: a method with one value for each setting.

    `searches` is whether its fit looks for the best by the metric that the run chooses by. `fitted_as` is the
    candidate whose fit it takes over, from which it differs in how it writes alone; empty if it is fitted.
    `tune` says which settings are searched: {"trials", "space"}, as core/config/tuning.py makes it.
    """

    id: str
    method: str
    rung: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[str] = ()
    searches: bool = False
    fitted_as: str = ""
    tune: Mapping[str, Any] | None = None
