"""The contract of methods that learn by gradients: they attach weights, the pipeline trains them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from ..method import Adapted, Context, Data, DataSchema, Method, Prompt, Trainable, TrainingSettings
from .base import Base
from .worded import Worded


class GradientMethod(Method):
    """Supplies `fit` by the one training loop; a subclass writes `attach`."""

    adapted: ClassVar[type[Adapted]] = Worded

    class Settings(TrainingSettings):
        """The shared training settings unless a subclass declares more."""

    settings: TrainingSettings

    @abstractmethod
    def attach(self, model: Any) -> Trainable:
        """Attach what is learned to the (frozen) model, initialised; equal settings give equal weights."""

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        trainable = self.attach(base.model)
        train = [data.train.encoded(index) for index in range(len(data.train))]
        validation = [data.validation.encoded(index) for index in range(len(data.validation))]
        report = context.train(base, trainable, train, validation, self.settings)
        schema = DataSchema(data.task, data.instruction, data.labels)
        worded = Worded(base, schema, Prompt(), self, trainable)
        worded.calibrate(data.validation.examples())
        worded.report = report
        return worded
