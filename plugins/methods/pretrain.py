"""Pretraining: next-token prediction on plain text, every token trained, all weights.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", for what is predicted: each token
from those before it. Texts are packed as branches of one sequence, without padding, and none attends to
another. A text ends with the base's end token, which is trained too. Its first token is trained where the
base's tokenizer opens texts with a begin token, and only read otherwise: nothing stands before it to
predict it from (SmolLM2's tokenizer puts none).

A random start draws the weights anew by the architecture's own rule for them, with the method's seed; the
tokenizer stays the base's. Memory is that of `full`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field

from ...core.hookspecs import hookimpl
from ...core.method import Data, Fold, Method, Trainable, Weights
from ...core.model.base import Base
from ...core.model.gradient import GradientMethod
from ...core.model.whole import attach_whole, fold_whole


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Pretrain]


class Pretrain(GradientMethod):
    name = "pretrain"
    rung = 2.0
    summary = "all weights on plain text, from the base's or from random ones"
    answers = ("likelihood",)

    class Settings(GradientMethod.Settings):
        learning_rate: float = Field(5e-5, gt=0, description="a random start wants some ten times more")
        start: Literal["base", "random"] = Field("base", description="the weights that training starts at")

    settings: Settings

    def attach(self, model: Any) -> Trainable:
        return attach_whole(model)

    def start(self, base: Base, data: Data) -> Trainable:
        trainable = self.attach(base.model)
        if self.settings.start == "random":
            fill(trainable, random_weights(base.model, self.settings.seed))
        return trainable

    def folds(self, weights: Weights, model: Mapping[str, Any]) -> Mapping[str, Fold]:
        return fold_whole(weights)


def random_weights(model: Any, seed: int) -> dict[str, torch.nn.Parameter]:
    """The weights of a new model of the same architecture, by name; equal seeds give equal ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return dict(type(model)(model.config).named_parameters())


@torch.no_grad()
def fill(trainable: Trainable, weights: Mapping[str, torch.Tensor]) -> None:
    """Give what is learned these values."""
    for name, parameter in trainable.parameters.items():
        parameter.copy_(weights[name])
