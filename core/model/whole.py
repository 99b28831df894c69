"""All weights of a base as what is learned: copies in the place of its own, in float32 at least."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..method import Fold, Trainable, Weights


def attach_whole(model: Any) -> Trainable:
    """Put copies of all weights in the place of the model's own; those that were tied stay one."""
    names = list(dict(model.named_parameters()))
    own = dict(model.named_parameters(remove_duplicate=False))
    copies = {id(weight): _learned(weight) for weight in own.values()}
    put_weights(model, {name: copies[id(weight)] for name, weight in own.items()})
    return Trainable(
        parameters={name: copies[id(own[name])] for name in names},
        detach=partial(put_weights, model, own),
        merge=partial(settle, model, own),
    )


def fold_whole(weights: Weights) -> dict[str, Fold]:
    """Each weight of the base is replaced by the learned one."""
    return {name: partial(replace_weight, learned=learned) for name, learned in weights.items()}


def _learned(weight: Tensor) -> nn.Parameter:
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return nn.Parameter(weight.detach().to(dtype, copy=True))


def put_weights(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> None:
    """Put each weight at its path."""
    for path, weight in weights.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, weight)


def settle(model: nn.Module, own: Mapping[str, Tensor]) -> None:
    """The learned weights become the model's own: frozen, in the dtypes of those that they replace."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(False)
        weight.data = weight.data.to(own[name].dtype)


def replace_weight(weight: Tensor, learned: Tensor) -> Tensor:
    """The learned weight, in the dtype of the one that it replaces."""
    return learned.to(weight.dtype)
