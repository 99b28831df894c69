"""Ascent on a classifier: noise that is changed, step by step, into what the classifier is most sure of.

Simonyan et al. 2014, "Deep Inside Convolutional Networks", arXiv:1312.6034, section 2: the gradient of the
label's logit by the input. A rival of generative models that fails: what it ends at is as sure to other
classifiers too, and like no row at all (Szegedy et al. 2014, arXiv:1312.6199).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from ...core.hookspecs import hookimpl
from ...core.method import Method
from ...core.model.vectors import SampleMethod, Shape, perceptron


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [ClassifierAscent]


class ClassifierAscent(SampleMethod):
    name = "classifier_ascent"
    rung = 0.5
    summary = "noise that climbs the logit of a classifier"

    class Settings(SampleMethod.Settings):
        steps: int = Field(100, ge=1, description="steps of a sample")
        step: float = Field(0.1, gt=0, description="length of a step, where numbers go from 0 to 1")
        epochs: float = Field(30, gt=0, description="passes of the classifier over the training rows")
        batch_size: int = Field(64, ge=1, description="rows an optimizer step")
        micro_batch_size: int = Field(64, ge=1, description="rows a backward pass")
        learning_rate: float = Field(2e-3, gt=0)

    settings: Settings

    def network(self, shape: Shape) -> nn.Sequential:
        return perceptron(shape.numbers, self.settings.hidden, shape.labels)

    def loss(self, network: nn.Sequential, values: Tensor, labels: Tensor, noise: Generator) -> Tensor:
        return nn.functional.cross_entropy(network(values), labels, reduction="sum")

    def sample(self, network: nn.Sequential, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        numbers = next(network.parameters()).shape[1]  # of the first weight [hidden, numbers]
        values = torch.stack([torch.rand(numbers, generator=draw) for draw in draws])  # [n, numbers]
        for _ in range(self.settings.steps):
            values = (values + self.settings.step * uphill(network, values, labels)).clamp(0, 1)
        return values


@torch.enable_grad()
def uphill(network: nn.Sequential, values: Tensor, labels: Tensor) -> Tensor:
    """[n, numbers], of length 1: where the logit of each row's label rises most."""
    start = values.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((network(start) * labels).sum(), start)
    return nn.functional.normalize(gradient, dim=1)
