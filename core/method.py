"""The contract of methods and tasks; sources, metrics, decoders and gates have modules of their own.

A method says what it learns and where it is attached. Data, training loop, scoring, checkpoints,
evaluation and registration are the pipeline's, the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

    from .decoder import Decoder
    from .metric import Metric
    from .model.base import Base
    from .training.course import OwnSteps
    from .training.each_step import EachStep
    from .training.replay import Replay
    from .types import (
        BaseKind,
        Encoded,
        Example,
        MergeReport,
        Prediction,
        Record,
        SearchReport,
        Split,
        TrainReport,
    )

# How a task is answered: by one label of a closed set, by one of the row's own options, in words of the
# candidate's own, by a number, not at all but by the probability of the text, or by a sample: a new vector of
# the kind that the row's input is, for the label that is the row's expected answer.
Answering = Literal["label", "choose", "generate", "number", "likelihood", "sample"]
Style = Literal["instruction", "question", "cloze"]
# The field that rows may have beside those that their task reads: of which task of a family they are.
FAMILY = "task"


class Settings(BaseModel):
    """Settings of a plugin: unknown names are refused, values are never changed after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WordedSettings(Settings):
    """The settings of every method that answers in words."""

    decoder: str | dict[str, dict[str, Any]] = Field(
        "greedy", description="how an open answer is written: a decoder's name, or {name: its settings}"
    )
    max_new_tokens: int = Field(128, ge=1, description="an open answer ends after so many tokens")


class LoopSettings(Settings):
    """The settings of the training loop, under the same names for all methods that are trained by it."""

    epochs: float = Field(3, gt=0, description="passes over the training rows")
    batch_size: int = Field(16, ge=1, description="rows an optimizer step")
    micro_batch_size: int = Field(16, ge=1, description="rows a backward pass; lower it to save memory")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="pull to zero, a share of learning_rate a step")
    l2_to_start: float = Field(0.0, ge=0, description="the same towards the weights at the start (L2-SP)")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up linearly")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    max_length: int | None = Field(None, ge=2, description="leave rows of more tokens out of training")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a gain")
    gradient_checkpointing: bool = Field(False, description="trade a third more time for memory")
    seed: int = 0


class TrainingSettings(LoopSettings, WordedSettings):
    """The settings of every method that is trained, and answers in words."""


@dataclass(frozen=True, slots=True)
class Between:
    """Where a search may go: any number from `low` to `high`, drawn evenly or evenly by its logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """Where a search may go: one of these values."""

    values: tuple[Any, ...]


SearchSpace = Mapping[str, "Between | OneOf"]


@dataclass(frozen=True)
class Data:
    """What a method may learn from: never the test rows.

    `metric` is the one that the run chooses by, for methods that say `searches`; others must not depend on
    it, so that a finished fit is not done again where another metric is to choose, and are given None.
    """

    task: Task
    instruction: str
    labels: tuple[str, ...]
    train: Split
    validation: Split
    metric: Metric | None = None


class Context(ABC):
    """What the pipeline lends to one fit: a folder, a log, a progress line, and the training loop."""

    folder: Path

    @abstractmethod
    def log(self, message: str) -> None:
        """One line for the user, on the task's log."""

    @abstractmethod
    def progress(self, **figures: float) -> None:
        """One point of the candidate's curves (`step` and any figures)."""

    @abstractmethod
    def train(
        self, base: Base, trainable: Trainable, rows: Rows, validation: Rows, settings: LoopSettings
    ) -> TrainReport:
        """Run the one training loop; afterwards `trainable` holds the weights of the best validation."""

    @abstractmethod
    def take_steps(self, own: OwnSteps, settings: Settings) -> TrainReport:
        """Train by steps of the method's own, with checkpoints and curves; it depends on these settings."""

    @abstractmethod
    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """The JSON value that `make` gives; found again by its key if the fit is killed after that."""

    @abstractmethod
    def artifact(self, candidate: str) -> Path:
        """The adapter folder of a candidate that the method `needs`."""

    @abstractmethod
    def candidate(self, candidate: str, base: Base) -> AbstractContextManager[Adapted]:
        """A candidate that the method `needs`, fitted, on `base`, which computes as before afterwards."""

    @abstractmethod
    def build(self, choice: Choice) -> Method:
        """The method that a setting names."""

    @abstractmethod
    def read(self, place: Path) -> list[Example]:
        """Rows without answers, read as the training rows are; `expected` stands for nothing.

        Left out are those with the input of a row that the run has already: repeats and training rows, and
        validation and test rows, which would leak. What became of all rows is noted. Raises DataError.
        """

    @abstractmethod
    def note(self, **facts: Any) -> None:
        """Facts of the fit, as JSON, for the candidate's entry of result.json and for the report."""


Rows = Sequence["Encoded"]
# A plugin that is named by a setting: by its name, or as {name: its settings}.
Choice = str | Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Trainable:
    """What a gradient method attached to the model.

    `parameters` maps the names under which they are saved to the tensors that are learned. `detach` takes
    everything off the model again, so that it computes as before; `merge` folds it into the model's own
    weights instead, in float32. `frozen` are saved and read back with the parameters, and not learned: what
    they were drawn or computed as, once and for all. `loss` yields summed losses with their numbers of
    trained tokens where the usual next-token loss is not meant; `groups` are AdamW's parameter groups where
    one learning rate is not meant for all. `keep` is called after training where what is served and saved
    has another form than what was trained: it attaches that in its place. `replays` is whether the base's
    own language head stands on what is learned, so that ordinary text can be trained beside the rows; that
    text is `replay`, which the pipeline gives. `noise` is what `loss` draws from, so that a training which
    goes on from a checkpoint draws on. `each_step` is called at every step, where that is more than AdamW's.
    """

    parameters: Mapping[str, torch.nn.Parameter]
    detach: Callable[[], None]
    merge: Callable[[], None] | None = None
    frozen: Mapping[str, torch.Tensor] = field(default_factory=dict)
    loss: Callable[[Base, Rows], Iterator[tuple[torch.Tensor, int]]] | None = None
    groups: Sequence[Mapping[str, Any]] | None = None
    keep: Callable[[], Trainable] | None = None
    replays: bool = True
    replay: Replay | None = None
    noise: torch.Generator | None = None
    each_step: EachStep | None = None

    def count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is saved, by its names; writing into one changes what is attached."""
        return {**self.frozen, **{name: each.detach() for name, each in self.parameters.items()}}


Weights = Mapping[str, "torch.Tensor"]
Fold = Callable[["torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter in the format of the PEFT library.

    `config` is what adapter_config.json says beside the base, `tensors` are those of
    adapter_model.safetensors by PEFT's names.
    """

    config: Mapping[str, Any]
    tensors: Weights


class Adapted(ABC):
    """A base after a method: it predicts, saves and loads itself, and says what it cost."""

    trainable_parameters: int = 0
    report: TrainReport | None = None
    searched: SearchReport | None = None  # what the method tried out before it settled
    alters_base: bool = False  # whether the base's own answers change, so that it may forget
    prompt_tokens: int | None = None  # read so far, as an endpoint counts them; None where none is asked

    @abstractmethod
    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Answer each example, in order."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write safetensors and JSON into the empty `folder`, and .txt files that only people read.

        The pipeline adds the manifest of hashes.
        """

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        """Read back what `save` wrote, onto the same base."""

    def merge(self) -> MergeReport | None:
        """Fold learned weights into the base, in float32, where the method can; None where it cannot."""
        return None

    def detach(self) -> None:
        """Take everything off the base again, so that it computes as before; of no use after that."""
        return  # most attach nothing

    def attached(self) -> Iterator[None]:
        """The base in each state in which the candidate is served, one after the other."""
        yield

    def scorer_faults(self) -> Mapping[str, int] | None:
        """How many answers its decoder's scorer could not judge, by what went wrong; None without one."""
        return None


@dataclass(frozen=True)
class DataSchema:
    """What an adapter must know of the data it was fitted on, to be used without them."""

    task: Task
    instruction: str
    labels: tuple[str, ...]


class Method(ABC):
    """One rung. Subclasses name themselves and implement `fit`."""

    name: ClassVar[str]
    rung: ClassVar[float]
    summary: ClassVar[str]
    answers: ClassVar[tuple[Answering, ...]]  # it does every task that is answered in one of these ways
    adapted: ClassVar[type[Adapted]]
    bases: ClassVar[tuple[BaseKind, ...]] = ("causal",)  # the kinds of base that it runs on
    libraries: ClassVar[tuple[str, ...]] = ()  # distributions that it computes with, beside Stepladder's own
    searches: ClassVar[bool] = False  # whether `fit` looks for the best by `data.metric`
    needs_tasks: ClassVar[bool] = False  # whether rows must say of which task of a family they are
    needs_rows: ClassVar[bool] = True  # whether it can do nothing without training rows
    # The setting that names the method by which the candidate is fitted in the end, saved and served.
    hands_on_to: ClassVar[str | None] = None

    class Settings(Settings):
        """No settings unless a subclass declares some."""

    def __init__(self, settings: BaseModel, decoder: Decoder | None = None) -> None:
        self.settings = settings
        self.decoder = decoder

    @abstractmethod
    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        """Learn from `data` on `base`."""

    def data_fault(self, data: Data) -> str | None:
        """Why nothing can be learned from these rows; None if it can. Asked before weights are loaded."""
        return None

    @classmethod
    def needs(cls, settings: BaseModel) -> Sequence[str]:
        """Ids of the candidates that must be fitted before this one; it stands no lower than they do."""
        return ()

    @classmethod
    def answers_on(cls, settings: BaseModel, kind: BaseKind) -> tuple[Answering, ...]:
        """The ways of answering that are left with these settings on a base of that kind."""
        return cls.answers

    def adapted_on(self, kind: BaseKind) -> type[Adapted]:
        """What a fit on a base of that kind gives, by which it is loaded again."""
        return self.adapted

    @classmethod
    def base_fault(cls, settings: BaseModel, model: Mapping[str, Any]) -> str | None:
        """Why these settings cannot go with a base whose config.json is `model`; None if they can.

        Asked before weights are loaded.
        """
        return None

    @classmethod
    def search_space(cls, settings: BaseModel) -> SearchSpace:
        """Where `tune` looks for better settings than these, if the user names none; empty for nowhere."""
        return {}

    def as_peft(self, weights: Weights, model: Mapping[str, Any]) -> PeftAdapter | None:
        """The saved `weights` as PEFT reads them; None where PEFT has no such form.

        `model` is the base's config.json.
        """
        return None

    def folds(self, weights: Weights, model: Mapping[str, Any]) -> Mapping[str, Fold] | None:
        """What the saved `weights` make of each weight of the base that they change, by its name there.

        None where the candidate is no change of the base's weights. `model` is the base's config.json.
        """
        return None


@dataclass(frozen=True)
class Prompt:
    """How an example becomes what the model reads; saved with every worded candidate.

    `demonstrations` are examples with their answers that stand before the question: all of them in this
    order, or, where `draw` is set, that many drawn anew for each example: at random, or the nearest by
    `embedding`, the name of an encoder or "base" for the base itself. `instruction` is the prompt's own;
    None is that of the data.
    """

    style: Style = "instruction"
    demonstrations: tuple[Example, ...] = ()
    draw: int | None = None
    embedding: str | None = None
    instruction: str | None = None


class Task(ABC):
    """What is asked of a row, how it is answered, and which figures judge the answers."""

    name: ClassVar[str]
    summary: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    answering: ClassVar[Answering]
    metrics: ClassVar[tuple[str, ...]]
    chooses_by: ClassVar[str]

    @abstractmethod
    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        """Read the fields of one row (keys are those of `columns`). Raises RowFault for a bad one."""

    def labels(self, expected: Iterator[str]) -> tuple[str, ...]:
        """The closed set of answers, from the expected answers of the training rows; empty if open."""
        return ()

    def options(self, example: Example, labels: Sequence[str]) -> Sequence[str]:
        """The answers among which this example is decided."""
        return labels

    @abstractmethod
    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        """The words put to the model for this example, without the answer.

        Behind demonstrations, which have said them, `instruction` and `labels` are empty.
        """

    def picture(self, records: Sequence[Record]) -> bytes | None:
        """Some of the answers as a PNG for the report; None where words show them."""
        return None
