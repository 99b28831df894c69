"""Variational autoencoder: rows have distributions of codes, held near the one that samples are drawn from.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114: the bound of eq. 7, with the
reparameterised draw and the closed divergence of eq. 10. Encoder and decoder are told the label (Sohn et
al. 2015, "Learning Structured Output Representation using Deep Conditional Generative Models"). The
likelihood is a Gaussian whose one variance is learned with the rest, which finds its own balance with the
divergence (Rybkin et al. 2021, arXiv:2006.13202); `beta` weighs the divergence otherwise (Higgins et al.
2017, "beta-VAE").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from ...core.hookspecs import hookimpl
from ...core.method import Method
from ...core.model.vectors import SampleMethod, Shape, perceptron

FIRST_DEVIATION = 0.3
Codes = tuple[Tensor, Tensor]


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Vae]


class Coder(nn.Module):
    """Between vectors [n, numbers] and distributions of codes, given labels [n, labels]."""

    def __init__(self, shape: Shape, codes: int, hidden: int) -> None:
        super().__init__()
        self.encoder = perceptron(shape.numbers + shape.labels, hidden, 2 * codes)
        self.decoder = perceptron(codes + shape.labels, hidden, shape.numbers)
        self.log_deviation = nn.Parameter(torch.tensor([math.log(FIRST_DEVIATION)]))

    def encode(self, values: Tensor, labels: Tensor) -> Codes:
        """Means and log-variances, each [n, codes]."""
        means, log_variances = self.encoder(torch.cat([values, labels], 1)).chunk(2, dim=1)
        return means, log_variances

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        values: Tensor = self.decoder(torch.cat([codes, labels], 1))
        return values


def divergence(codes: Codes) -> Tensor:
    """Kullback-Leibler divergence (nats) from the standard normal: [n]. Appendix B of the paper."""
    means, log_variances = codes
    return (means.square() + log_variances.exp() - log_variances - 1).sum(1) / 2


def draw(codes: Codes, noise: Tensor) -> Tensor:
    """One code of each row, through which gradients reach its distribution: noise [n, codes]."""
    means, log_variances = codes
    return means + (log_variances / 2).exp() * noise


def negative_log_density(values: Tensor, means: Tensor, log_deviation: Tensor) -> Tensor:
    """Of independent Gaussians of one deviation, in nats: [n]."""
    squares = ((values - means) / log_deviation.exp()).square()
    return (squares / 2 + log_deviation + math.log(2 * math.pi) / 2).sum(1)


class Vae(SampleMethod):
    name = "vae"
    rung = 1.5
    summary = "samples of a variational autoencoder, conditional by label"

    class Settings(SampleMethod.Settings):
        codes: int = Field(8, ge=1, description="numbers of a code")
        beta: float = Field(1.0, ge=0, description="weight of the divergence of codes from those drawn")
        epochs: float = Field(100, gt=0, description="passes over the training rows")
        batch_size: int = Field(64, ge=1, description="rows an optimizer step")
        micro_batch_size: int = Field(64, ge=1, description="rows a backward pass")
        learning_rate: float = Field(2e-3, gt=0)

    settings: Settings

    def network(self, shape: Shape) -> Coder:
        return Coder(shape, self.settings.codes, self.settings.hidden)

    def loss(self, network: Coder, values: Tensor, labels: Tensor, noise: Generator) -> Tensor:
        drawn = torch.randn(len(values), self.settings.codes, generator=noise)
        return negative_bound(network, values, labels, drawn, self.settings.beta).sum()

    def sample(self, network: Coder, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        """The decoder's means: its deviation is that of noise in the rows."""
        return network.decode(self._normal(draws), labels)

    def reconstruct(self, network: Coder, values: Tensor, labels: Tensor) -> Tensor:
        return network.decode(network.encode(values, labels)[0], labels)

    def bound(self, network: Coder, values: Tensor, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        """By one draw a row, and with the divergence at its full weight: else it bounds nothing."""
        return negative_bound(network, values, labels, self._normal(draws), beta=1.0)

    def _normal(self, draws: Sequence[Generator]) -> Tensor:
        """[n, codes]"""
        return torch.stack([torch.randn(self.settings.codes, generator=draw) for draw in draws])


def negative_bound(network: Coder, values: Tensor, labels: Tensor, noise: Tensor, beta: float) -> Tensor:
    """Minus the evidence lower bound of each row, estimated by one draw: [n], in nats."""
    codes = network.encode(values, labels)
    means = network.decode(draw(codes, noise), labels)
    return negative_log_density(values, means, network.log_deviation) + beta * divergence(codes)
