"""Autoencoder: vectors squeezed through a short code and back; a sample is what a random code decodes to.

Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks". Nothing asks of the
codes that they lie as random ones do (standard normal), so most samples come from where no row's code lies:
what `vae` mends. Encoder and decoder are told the label.
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
    return [Autoencoder]


class Coder(nn.Module):
    """Between vectors [n, numbers] and codes [n, codes], given labels [n, labels]."""

    def __init__(self, shape: Shape, codes: int, hidden: int) -> None:
        super().__init__()
        self.encoder = perceptron(shape.numbers + shape.labels, hidden, codes)
        self.decoder = perceptron(codes + shape.labels, hidden, shape.numbers)

    def encode(self, values: Tensor, labels: Tensor) -> Tensor:
        codes: Tensor = self.encoder(torch.cat([values, labels], 1))
        return codes

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        values: Tensor = self.decoder(torch.cat([codes, labels], 1))
        return values


class Autoencoder(SampleMethod):
    name = "autoencoder"
    rung = 1.0
    summary = "samples decoded from random codes of an autoencoder"

    class Settings(SampleMethod.Settings):
        codes: int = Field(8, ge=1, description="numbers of a code")
        epochs: float = Field(100, gt=0, description="passes over the training rows")
        batch_size: int = Field(64, ge=1, description="rows an optimizer step")
        micro_batch_size: int = Field(64, ge=1, description="rows a backward pass")
        learning_rate: float = Field(2e-3, gt=0)

    settings: Settings

    def network(self, shape: Shape) -> Coder:
        return Coder(shape, self.settings.codes, self.settings.hidden)

    def loss(self, network: Coder, values: Tensor, labels: Tensor, noise: Generator) -> Tensor:
        return (network.decode(network.encode(values, labels), labels) - values).square().sum()

    def sample(self, network: Coder, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        codes = [torch.randn(self.settings.codes, generator=draw) for draw in draws]
        return network.decode(torch.stack(codes), labels)

    def reconstruct(self, network: Coder, values: Tensor, labels: Tensor) -> Tensor:
        return network.decode(network.encode(values, labels), labels)
