"""AdamW, and beside its decay a pull towards the weights at which training starts.

L2-SP: Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional
Networks", arXiv:1802.01483, eq. 2, decoupled from the gradient as AdamW decouples its decay (Loshchilov and
Hutter 2017, arXiv:1711.05101, algorithm 2): each step takes the share learning_rate * l2_to_start of the way
back. Of an adapter, the start is the adapter's own, at which the base says what it said.
"""

from __future__ import annotations

from typing import Any

import torch

from ..method import LoopSettings, Trainable


class TowardsStart(torch.optim.AdamW):
    """Keeps a copy of every weight as it was: 4 more bytes a weight in float32."""

    def __init__(self, parameters: Any, l2_to_start: float, **settings: Any) -> None:
        super().__init__(parameters, **settings)
        self._pull = l2_to_start
        self._start = {p: p.detach().clone() for group in self.param_groups for p in group["params"]}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                p.lerp_(self._start[p], group["lr"] * self._pull)
        return super().step(closure)


def make_optimizer(trainable: Trainable, settings: LoopSettings) -> torch.optim.Optimizer:
    parameters: Any = trainable.groups or [{"params": list(trainable.parameters.values())}]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.l2_to_start:
        return TowardsStart(parameters, settings.l2_to_start, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
