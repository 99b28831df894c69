"""The pull towards the start: Li et al. 2018, decoupled from the gradient, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepladder.core.method import Trainable, TrainingSettings
from stepladder.core.training.optimizer import make_optimizer


def learned(*values: float) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def one_step(weight: torch.nn.Parameter, gradient: float, **given: Any) -> torch.optim.Optimizer:
    settings = TrainingSettings(learning_rate=0.5, **given)
    optimizer = make_optimizer(Trainable({"weight": weight}, detach=lambda: None), settings)
    weight.grad = torch.full_like(weight, gradient)
    optimizer.step()
    return optimizer


def test_each_step_goes_back_its_share_of_the_way():
    weight = learned(1.0, -2.0)
    optimizer = one_step(weight, 1.0, l2_to_start=0.2)
    moved = [1.0 - 0.5, -2.0 - 0.5]  # Adam's first step is the rate; at the start there is nothing to go back
    assert weight.tolist() == pytest.approx(moved, rel=1e-7)
    weight.grad.zero_()
    momentum = 0.5 * (0.1 * 0.9 / 0.19) / (0.001 * 0.999 / 0.001999) ** 0.5
    optimizer.step()
    back = [(1.0 - 0.5) + 0.1 * 0.5 - momentum, (-2.0 - 0.5) + 0.1 * 0.5 - momentum]
    assert weight.tolist() == pytest.approx(back, rel=1e-6)


def test_decay_pulls_towards_zero_and_this_does_not():
    decayed, kept = learned(4.0), learned(4.0)
    one_step(decayed, 0.0, weight_decay=0.2)
    one_step(kept, 0.0, l2_to_start=0.2)
    assert decayed.tolist() == pytest.approx([4.0 * (1 - 0.5 * 0.2)])
    assert kept.tolist() == [4.0]


def test_each_group_is_pulled_at_its_own_rate():
    still, moving = learned(1.0), learned(1.0)
    groups = [{"params": [moving]}, {"params": [still], "lr": 0.0}]
    trainable = Trainable({"still": still, "moving": moving}, detach=lambda: None, groups=groups)
    optimizer = make_optimizer(trainable, TrainingSettings(learning_rate=0.5, l2_to_start=0.2))
    with torch.no_grad():
        still.fill_(3.0)
        moving.fill_(3.0)
    for weight in (still, moving):
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert (still.tolist(), moving.tolist()) == ([3.0], pytest.approx([3.0 - 0.5 * 0.2 * 2.0]))


def test_without_a_pull_no_copy_is_kept():
    optimizer = make_optimizer(Trainable({"w": learned(1.0)}, detach=lambda: None), TrainingSettings())
    assert type(optimizer) is torch.optim.AdamW
