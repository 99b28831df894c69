"""The vocabulary projection at chosen positions, in chunks: no [tokens, vocabulary] tensor is kept.

For training, the gradient with respect to the hidden states (and to the head, where that is trained) is
computed in the forward pass, as softmax minus one-hot, and only scaled in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 256


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum over N positions of -log softmax(hidden @ weight.T + bias)[target], in nats."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        """hidden [N, H], weight [V, H], bias [V] or None, targets [N]."""
        total = torch.zeros(
            (), dtype=torch.float64 if hidden.dtype == torch.float64 else torch.float32, device=hidden.device
        )
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight) if weight.requires_grad else None
        grad_bias = torch.zeros_like(bias) if bias is not None and bias.requires_grad else None
        for rows in _chunks(len(hidden)):
            probabilities = _logits(hidden[rows], weight, bias)  # [n, V]
            normaliser = probabilities.logsumexp(-1, keepdim=True)
            picked = probabilities.gather(1, targets[rows, None])
            total += (normaliser - picked).sum()
            probabilities.sub_(normaliser).exp_()
            probabilities.scatter_add_(1, targets[rows, None], -torch.ones_like(picked))
            slope = probabilities.to(hidden.dtype)
            grad_hidden[rows] = slope @ weight
            if grad_weight is not None:
                grad_weight.addmm_(slope.T, hidden[rows])
            if grad_bias is not None:
                grad_bias += slope.sum(0)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [
            None if gradient is None else gradient * grad_output.to(gradient.dtype)
            for gradient in ctx.saved_tensors
        ]
        return (*scaled, None)


def cross_entropy_sum(hidden: Tensor, head: torch.nn.Module, targets: Tensor) -> Tensor:
    """Sum of negative log-likelihoods (nats) of `targets` [N] after `hidden` [N, H]."""
    if not torch.is_grad_enabled():
        positions = torch.arange(len(hidden), device=hidden.device)
        return -log_probabilities(hidden, head, positions, targets).sum()
    weight, bias = _parameters(head)
    result: Tensor = ChunkedCrossEntropy.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def log_probabilities(hidden: Tensor, head: torch.nn.Module, positions: Tensor, targets: Tensor) -> Tensor:
    """log p [N] of `targets` [N] after the hidden states at `positions` [N] of `hidden` [T, H].

    Each distinct position is projected once, however many targets follow it.
    """
    weight, bias = _parameters(head)
    distinct, which = torch.unique(positions, return_inverse=True)
    order = which.argsort(stable=True)
    counts = torch.bincount(which, minlength=len(distinct))
    result = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    if hidden.dtype == torch.float64:
        result = result.double()
    start = 0
    for rows in _chunks(len(distinct)):
        logits = _logits(hidden[distinct[rows]], weight, bias)
        end = start + int(counts[rows].sum())
        members = order[start:end]
        local = which[members] - rows.start
        result[members] = logits[local, targets[members]] - logits.logsumexp(-1)[local]
        start = end
    return result


def _chunks(length: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, length, CHUNK))


def _parameters(head: torch.nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight [V, H], and bias [V] where the head has one."""
    weight = head.weight
    assert isinstance(weight, Tensor), "a head is a linear layer"
    return weight, getattr(head, "bias", None)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[n, H] to [n, V], in float32 at least."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return logits if logits.dtype == torch.float64 else logits.float()
