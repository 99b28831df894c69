"""MAML on the paper's sinusoids (Finn et al. 2017, §5.1), by the method's own inner and outer loop.

A network of 2 x 40 ReLU units, K = 10 and alpha = 0.01 are the paper's; the iterations are cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from stepladder.plugins.methods.maml import Inner, outer_loss, outer_slopes
from torch import Tensor, nn

Weights = dict[str, Tensor]

ALPHA, SHOTS, TASKS = 0.01, 10, 25
LEARNING_RATE, ITERATIONS = 2e-3, 1500
FACTOR = {1: 2, 5: 3}  # by steps: how many times lower the error is at least
Wave = tuple[Tensor, Tensor]


def regression(weights: Weights, batch: Wave) -> Tensor:
    """Mean squared error of the network on x and y, both [n, 1]."""
    hidden, targets = batch
    for layer in range(3):
        hidden = nn.functional.linear(hidden, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
        hidden = hidden.relu() if layer < 2 else hidden
    return (hidden - targets).square().mean()


def new_network(generator: torch.Generator) -> dict[str, nn.Parameter]:
    weights = {}
    for layer, (inputs, outputs) in enumerate([(1, 40), (40, 40), (40, 1)]):
        drawn = torch.randn(outputs, inputs, generator=generator) / math.sqrt(inputs)
        weights |= {
            f"{layer}.weight": nn.Parameter(drawn),
            f"{layer}.bias": nn.Parameter(torch.zeros(outputs)),
        }
    return weights


def waves(tasks: int, rows: int, generator: torch.Generator) -> Iterator[Wave]:
    """Draws of x and y, [tasks, rows, 1], from sinusoids of amplitude 0.1 to 5 and phase 0 to pi."""
    amplitude = torch.rand(tasks, 1, 1, generator=generator) * 4.9 + 0.1
    phase = torch.rand(tasks, 1, 1, generator=generator) * math.pi
    while True:
        x = torch.rand(tasks, rows, 1, generator=generator) * 10 - 5
        yield x, amplitude * torch.sin(x + phase)


def sinusoid_loss(weights: Weights, episode: tuple[Wave, Wave], steps: int, rate: float) -> Tensor:
    return outer_loss(regression, lambda weights, _: weights, Inner(steps, rate), weights, episode)


def learn(steps: int, iterations: int) -> Weights:
    """An initialisation for so many inner steps; with none, the weights pretrained on all tasks."""
    generator = torch.Generator().manual_seed(0)
    weights = new_network(generator)
    optimizer = torch.optim.Adam(weights.values(), lr=LEARNING_RATE)
    of_task = partial(sinusoid_loss, steps=steps, rate=ALPHA)
    for _ in range(iterations):
        draws = waves(TASKS, SHOTS, generator)
        now = {name: weight.detach() for name, weight in weights.items()}
        slopes, _ = outer_slopes(of_task, now, (next(draws), next(draws)))
        for name, weight in weights.items():
            weight.grad = slopes[name]
        optimizer.step()
    return {name: weight.detach() for name, weight in weights.items()}


def error(weights: Weights, steps: int, rate: float) -> float:
    """Mean squared error on 200 new tasks, after gradient steps on 10 rows of each."""
    generator = torch.Generator().manual_seed(99)
    draws = waves(200, SHOTS, generator)
    support = next(draws)
    queries = [next(draws) for _ in range(10)]
    query = tuple(torch.cat(side, dim=1) for side in zip(*queries, strict=True))
    of_task = partial(sinusoid_loss, steps=steps, rate=rate)
    return float(torch.vmap(of_task, in_dims=(None, 0))(weights, (support, query)).mean())


def test_sinusoids_are_learned_in_few_steps_from_the_initialisation_and_not_from_pretrained_weights():
    initial, pretrained = learn(1, ITERATIONS), learn(0, ITERATIONS)
    for steps in (1, 5):
        ours = error(initial, steps, ALPHA)
        theirs = min(error(pretrained, steps, rate) for rate in (0.003, 0.01, 0.03))
        assert ours < theirs / FACTOR[steps], (steps, ours, theirs)
