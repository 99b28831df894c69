"""Random search: of many random vectors, the one that a classifier takes most surely for the asked label.

A rival of generative models that fails, and shows why: a classifier parts the labels, and knows nothing of
what no row looks like, so that among random vectors there are always some that it is sure of (Nguyen et al.
2015, "Deep Neural Networks are Easily Fooled", arXiv:1412.1897).
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
    return [RandomSearch]


class RandomSearch(SampleMethod):
    name = "random_search"
    rung = 0.0
    summary = "of random vectors the one that a classifier accepts most surely"

    class Settings(SampleMethod.Settings):
        tries: int = Field(500, ge=1, description="random vectors of which each sample is the best")
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
        return torch.stack(
            [
                self._best(network, label, torch.rand(self.settings.tries, numbers, generator=draw))
                for label, draw in zip(labels, draws, strict=True)
            ]
        )

    def _best(self, network: nn.Sequential, label: Tensor, tried: Tensor) -> Tensor:
        """Of tried [tries, numbers], the one whose label [labels] is the most probable."""
        return tried[(network(tried).log_softmax(1) @ label).argmax()]
