"""Low-rank updates B A of linear layers that stand beside them only for a while, as functional weights.

Hu et al. 2021, arXiv:2106.09685, §4.1. Nothing in the model is replaced, so that gradients may be taken with
respect to whatever tensors are given, as algorithms ask that hold several sets of weights at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Layers = Mapping[str, nn.Linear]
Weights = dict[str, Tensor]


def reading_layers(model: Any, hidden_size: int) -> dict[str, nn.Linear]:
    """The trunk's linear layers that read hidden states, by their path."""
    return {
        path: module
        for path, module in model.base_model.named_modules()
        if isinstance(module, nn.Linear) and module.in_features == hidden_size
    }


def new_updates(layers: Layers, rank: int, seed: int) -> Weights:
    """For each layer A [rank, in], random, and B [out, rank], zero, so that the layer gives what it gave."""
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for path, layer in layers.items():
        device, inputs = layer.weight.device, layer.in_features
        weights[f"{path}.a"] = (torch.randn(rank, inputs, generator=generator) / inputs**0.5).to(device)
        weights[f"{path}.b"] = torch.zeros(layer.out_features, rank, device=device)
    return weights


@contextmanager
def updated(layers: Layers, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it each layer gives x W^T + x A^T B^T."""
    with ExitStack() as stack:
        for path, layer in layers.items():
            update = partial(_add_update, weights[f"{path}.a"], weights[f"{path}.b"])
            stack.callback(layer.register_forward_hook(update).remove)
        yield


def _add_update(a: Tensor, b: Tensor, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + (inputs[0].to(a.dtype) @ a.T @ b.T).to(output.dtype)
