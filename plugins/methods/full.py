"""Full fine-tuning: every weight of the base is trained, by words or with a new linear head.

The head starts at zero and is trained alone first, so that its first errors do not distort the features
that the base came with, or it starts at the linear probe's solution. Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution", arXiv:2202.10054: `probe_first` is their
LP-FT.

Memory of a training, in float32, for each weight: itself, its gradient and AdamW's two moments, the
weights of the best validation so far, and the base's own, which `detach` puts back: 24 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from ...core.bases import quantisation
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, Fold, Method, Trainable, Weights
from ...core.model.base import Base
from ...core.model.gradient import GradientMethod, HeadSettings
from ...core.model.headed import HeadStart
from ...core.model.whole import attach_whole, fold_whole

BYTES = 24


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Full]


class Full(GradientMethod):
    name = "full"
    rung = 2.0
    summary = "all weights, by words or with a new linear head"
    answers = ("label", "choose", "generate", "number", "likelihood")
    bases = ("causal", "encoder")

    class Settings(HeadSettings):
        learning_rate: float = Field(5e-5, gt=0)
        warmup_head_epochs: float = Field(
            1, ge=0, description="passes in which a linear head alone is trained, the base frozen"
        )
        probe_first: bool = Field(False, description="start a linear head at the linear probe's solution")
        head_learning_rate: float = Field(1e-2, gt=0, description="of a linear head")

    settings: Settings

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        if quantisation(model):
            return "all weights are trained, and those of this base are quantised: use lora"
        return super().base_fault(settings, model)

    def head_start(self) -> HeadStart:
        """A head that starts at its solution needs no training alone."""
        settings = self.settings
        epochs = 0.0 if settings.probe_first else settings.warmup_head_epochs
        return HeadStart(epochs, settings.probe_first, settings.head_learning_rate)

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        count = sum(parameter.numel() for parameter in base.model.parameters())
        context.log(f"full: {count:,} weights, {count * BYTES / 1e9:.1f} GB of memory beside what rows take")
        return super().fit(base, data, context)

    def attach(self, model: Any) -> Trainable:
        return attach_whole(model)

    def folds(self, weights: Weights, model: Mapping[str, Any]) -> Mapping[str, Fold]:
        return fold_whole(weights)
