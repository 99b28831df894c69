"""The contract of methods that learn by gradients: they attach weights, the pipeline trains them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..bases import base_kind
from ..errors import ModelError
from ..method import (
    Adapted,
    Answering,
    Between,
    Context,
    Data,
    DataSchema,
    Method,
    OneOf,
    Prompt,
    SearchSpace,
    Trainable,
    TrainingSettings,
)
from ..types import BaseKind, Encoded, Split
from .base import Base
from .headed import Headed, HeadStart, fit_headed
from .root import learned_length
from .worded import Worded


class HeadSettings(TrainingSettings):
    """Of methods that can answer by a new linear head on a base that writes, too."""

    head: Literal["words", "linear"] | None = Field(
        None,
        description="answer by words, or by a new linear head; default: by words where the base writes",
    )


class GradientMethod(Method):
    """Supplies `fit` by the one training loop; a subclass writes `attach`, and `start` where words matter."""

    adapted: ClassVar[type[Adapted]] = Worded

    class Settings(TrainingSettings):
        """The shared training settings unless a subclass declares more."""

    settings: TrainingSettings

    @abstractmethod
    def attach(self, model: Any) -> Trainable:
        """Attach what is learned to the (frozen) model, initialised; equal settings give equal weights.

        Saved weights are read back into it.
        """

    @classmethod
    def wants_head(cls, settings: Any, kind: BaseKind) -> bool:
        """Whether these settings answer by a linear head on a base of that kind; else in words."""
        return kind == "encoder" or getattr(settings, "head", None) == "linear"

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        if getattr(settings, "head", None) == "words" and base_kind(model) == "encoder":
            return "head: found 'words', but the base is an encoder, which writes none: expected 'linear'"
        return None

    @classmethod
    def answers_on(cls, settings: Any, kind: BaseKind) -> tuple[Answering, ...]:
        return ("label",) if cls.wants_head(settings, kind) else cls.answers

    def adapted_on(self, kind: BaseKind) -> type[Adapted]:
        return Headed if self.wants_head(self.settings, kind) else self.adapted

    @classmethod
    def search_space(cls, settings: Any) -> SearchSpace:
        """A decade each way of the learning rate, half and twice the passes, and some weight decay."""
        rate, epochs = settings.learning_rate, settings.epochs
        return {
            "learning_rate": Between(rate / 10, rate * 10, log=True),
            "epochs": OneOf((epochs / 2, epochs, epochs * 2)),
            "weight_decay": OneOf(tuple(dict.fromkeys((settings.weight_decay, 0.01, 0.1)))),
        }

    def head_start(self) -> HeadStart:
        """How a linear head is trained before the rest."""
        return HeadStart()

    def start(self, base: Base, data: Data) -> Trainable:
        """Attach what is trained, where training starts; for starts that need words of the data."""
        return self.attach(base.model)

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        if self.wants_head(self.settings, base.kind):
            return fit_headed(self, base, data, context, self.head_start())
        return self._fit_words(base, data, context)

    def _fit_words(self, base: Base, data: Data, context: Context) -> Worded:
        trainable = self.start(base, data)
        train, validation = (self._that_fit(base, split, context) for split in (data.train, data.validation))
        if not train:
            raise ModelError(
                f"{self.name}: behind {learned_length(base.model)} learned positions there is room for no "
                f"training row: {base.ref.name} attends to {base.context_length} tokens; lower length"
            )
        report = context.train(base, trainable, train, validation, self.settings)
        kept = trainable.keep() if trainable.keep else trainable
        schema = DataSchema(data.task, data.instruction, data.labels)
        worded = Worded(base, schema, Prompt(), self, kept)
        worded.calibrate(data.validation.examples())
        worded.report = report
        return worded

    def _that_fit(self, base: Base, split: Split, context: Context) -> list[Encoded]:
        """The rows for which the base has room behind what is learned."""
        rows = [split.encoded(index) for index in range(len(split))]
        room = base.context_length - learned_length(base.model)
        fitting = [row for row in rows if len(row.tokens) <= room]
        if len(fitting) < len(rows):
            context.log(f"{len(rows) - len(fitting)} rows are longer than the {room} tokens left to them")
        return fitting
