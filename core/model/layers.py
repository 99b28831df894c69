"""The linear layers of a base: found by name, and replaced by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from ..errors import ModelError, did_you_mean
from .architecture import skeleton

# Names of the layers that make queries and values, by family; the first group found is the default.
QUERIES_AND_VALUES = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("q_lin", "v_lin"),
    ("query_key_value",),
    ("qkv_proj",),
    ("c_attn",),
)
# Names that stand for many layers: all of the attention, all but the language head.
ATTENTION, ALL = "attention", "all-linear"


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """The linear layers of the trunk by their path, the language head left out."""
    head = model.get_output_embeddings()
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }


def find_layers(model: Any, target: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """The linear layers that `target` names, by their path; of None those of queries and values.

    A name is the last part of a path or several (`v_proj`, `attn.c_proj`), "attention" or "all-linear".
    Raises ModelError for a name that no layer has.
    """
    linear = linear_layers(model)
    names = {last_name(path) for path in linear}
    wanted = [target] if isinstance(target, str) else target or queries_and_values(names)
    for name in wanted:
        if not any(is_meant(path, name) for path in linear):
            raise ModelError(
                f"target: this base has no linear layer {name!r}"
                f"{did_you_mean(name, [*sorted(names), ATTENTION, ALL])}; it has {', '.join(sorted(names))}"
            )
    return {path: layer for path, layer in linear.items() if any(is_meant(path, name) for name in wanted)}


def layers_fault(target: str | Sequence[str] | None, model: Mapping[str, Any]) -> str | None:
    """Why a base with the config.json `model` lacks a layer that `target` names; None if it has all."""
    base = skeleton(model)
    if base is None:
        return None
    try:
        find_layers(base, target)
    except ModelError as error:
        return str(error)
    return None


def is_meant(path: str, name: str) -> bool:
    """Whether the layer at the path is one of those that the name stands for."""
    if name == ATTENTION:
        return any(mark in part for part in path.split(".") for mark in ("attn", "attention"))
    return name == ALL or f".{path}".endswith(f".{name}")


def queries_and_values(names: set[str]) -> Sequence[str]:
    """Those of the names that are of layers which make queries and values."""
    found = next((group for group in QUERIES_AND_VALUES if names.issuperset(group)), None)
    if found is None:
        raise ModelError(
            f"target: name the layers to adapt, or {ATTENTION} or {ALL}; "
            f"this base has {', '.join(sorted(names))}"
        )
    return found


def shortest_names(adapted: Sequence[str], linear: Sequence[str]) -> list[str]:
    """Names that stand for the layers at the paths `adapted` and for no other of the paths `linear`."""
    others = {last_name(path) for path in linear if path not in set(adapted)}
    return sorted({path if last_name(path) in others else last_name(path) for path in adapted})


def last_name(path: str) -> str:
    return path.rpartition(".")[2]


def linear_shape(layer: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear layer; GPT-2's Conv1D stores its weight the other way round."""
    if isinstance(layer, Conv1D):
        inputs, outputs = layer.weight.shape
        return inputs, outputs
    assert isinstance(layer, nn.Linear), "linear layers are these two"
    return layer.in_features, layer.out_features


def replace_modules(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Put each module at its path."""
    for path, module in modules.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, module)
