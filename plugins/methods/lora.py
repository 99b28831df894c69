"""LoRA: a low-rank update B A beside frozen linear layers, scaled by alpha / r.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, §4.1: A is random,
B is zero, so that training starts at the base. Rank-stabilised scale alpha / sqrt(r): Kalajdzievski 2023,
arXiv:2312.03732, theorem 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ...core.errors import ModelError, did_you_mean
from ...core.hookspecs import hookimpl
from ...core.method import Fold, Method, PeftAdapter, Trainable, Weights
from ...core.model.gradient import GradientMethod

# Names of the layers that make queries and values, by family; the first group found is the default.
ATTENTION = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("q_lin", "v_lin"),
    ("query_key_value",),
    ("qkv_proj",),
    ("c_attn",),
)
# Families whose linear layers are Conv1D, with weights [in, out].
TRANSPOSED = ("gpt2", "openai-gpt")
# Weights are folded by so many elements at once, so that no second copy of a large one is held.
CHUNK = 1 << 18


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Lora]


class LoraLinear(nn.Module):
    """A frozen linear layer with its update: base(x) + scale * x A^T B^T."""

    def __init__(self, base: nn.Module, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        inputs, outputs = linear_shape(base)
        weight: Any = base.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        a = torch.empty(rank, inputs, dtype=dtype)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        self.base = base
        self.scale = scale
        self.lora_a = nn.Parameter(a.to(weight.device))  # [r, in]
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank, dtype=dtype, device=weight.device))  # [out, r]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        low = nn.functional.linear(x, self.lora_a.to(x.dtype))
        result: Tensor = self.base(x) + nn.functional.linear(low, self.lora_b.to(x.dtype)) * self.scale
        return result

    @torch.no_grad()
    def fold(self) -> None:
        """Add the update to the frozen weight, in float32 at least."""
        weight: Any = self.base.weight
        fold = fold_transposed if isinstance(self.base, Conv1D) else fold_update
        weight.copy_(fold(weight, self.lora_a, self.lora_b, self.scale))


def linear_shape(layer: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear layer; GPT-2's Conv1D stores its weight the other way round."""
    weight: Any = layer.weight
    first, second = weight.shape
    return (first, second) if isinstance(layer, Conv1D) else (second, first)


def fold_update(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """weight [out, in] plus scale * b [out, r] a [r, in], in the dtype of the factors, rounded once."""
    folded = torch.empty_like(weight)
    step = max(1, CHUNK // weight.shape[1])
    for rows in (slice(start, start + step) for start in range(0, len(weight), step)):
        folded[rows] = weight[rows].to(b.dtype) + (b[rows] @ a) * scale
    return folded


def fold_transposed(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The same for a weight [in, out]."""
    return fold_update(weight, b.T, a.T, scale)


def find_layers(model: nn.Module, target: Sequence[str] | None) -> dict[str, nn.Module]:
    """The trunk's linear layers whose last name is a target, by their path.

    Raises ModelError for a name that no layer has.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    linear = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    names = {path.rsplit(".", 1)[-1] for path in linear}
    wanted = set(target if target is not None else _attention_names(names))
    for name in sorted(wanted - names):
        raise ModelError(
            f"lora.target: this base has no linear layer {name!r}{did_you_mean(name, names)}; "
            f"it has {', '.join(sorted(names))}"
        )
    return {path: module for path, module in linear.items() if path.rsplit(".", 1)[-1] in wanted}


def _attention_names(names: set[str]) -> Sequence[str]:
    found = next((group for group in ATTENTION if names.issuperset(group)), None)
    if found is None:
        raise ModelError(f"lora.target: name the layers to adapt; this base has {', '.join(sorted(names))}")
    return found


def replace_modules(model: nn.Module, modules: dict[str, nn.Module]) -> None:
    """Put each module at its path."""
    for path, module in modules.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, module)


class Lora(GradientMethod):
    name = "lora"
    rung = 1.5
    summary = "low-rank updates beside frozen layers; merges into the weights"
    answers = ("label", "choose", "generate", "number", "likelihood")
    bases = ("causal", "encoder")

    class Settings(GradientMethod.Settings):
        learning_rate: float = Field(2e-3, gt=0)
        rank: int = Field(8, ge=1)
        alpha: float = Field(16, gt=0, description="the update is scaled by alpha / rank")
        target: list[str] | None = Field(None, description="layers' names; default: queries and values")
        rslora: bool = Field(False, description="scale by alpha / sqrt(rank)")

    settings: Settings

    def attach(self, model: Any) -> Trainable:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        scale = self.scale()
        layers = find_layers(model, settings.target)
        adapted = {path: LoraLinear(layer, settings.rank, scale, generator) for path, layer in layers.items()}
        replace_modules(model, dict(adapted))
        return Trainable(
            parameters={
                f"{path}.{name}": parameter
                for path, layer in adapted.items()
                for name, parameter in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b))
            },
            detach=partial(replace_modules, model, layers),
            merge=partial(merge_layers, model, adapted),
        )

    def scale(self) -> float:
        """By which the update counts."""
        rank = self.settings.rank
        return self.settings.alpha / (math.sqrt(rank) if self.settings.rslora else rank)

    def as_peft(self, weights: Weights, model: Mapping[str, Any]) -> PeftAdapter:
        settings, alpha = self.settings, self.settings.alpha
        return PeftAdapter(
            config={
                "peft_type": "LORA",
                "r": settings.rank,
                "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
                "target_modules": sorted({path.rsplit(".", 1)[-1] for path in adapted_paths(weights)}),
                "lora_dropout": 0.0,
                "bias": "none",
                "fan_in_fan_out": model["model_type"] in TRANSPOSED,
                "use_rslora": settings.rslora,
                "use_dora": False,
                "rank_pattern": {},
                "alpha_pattern": {},
                "modules_to_save": None,
                "init_lora_weights": True,
            },
            tensors={f"base_model.model.{name}.weight": tensor for name, tensor in weights.items()},
        )

    def folds(self, weights: Weights, model: Mapping[str, Any]) -> Mapping[str, Fold]:
        fold = fold_transposed if model["model_type"] in TRANSPOSED else fold_update
        return {
            f"{path}.weight": partial(
                fold, a=weights[f"{path}.lora_A"], b=weights[f"{path}.lora_B"], scale=self.scale()
            )
            for path in adapted_paths(weights)
        }


def adapted_paths(weights: Weights) -> list[str]:
    """Paths of the layers that the saved weights belong to."""
    return [name.removesuffix(".lora_A") for name in weights if name.endswith(".lora_A")]


def merge_layers(model: nn.Module, adapted: dict[str, LoraLinear]) -> None:
    """Fold every update into its layer, and put the plain layers back."""
    for layer in adapted.values():
        layer.fold()
    replace_modules(model, {path: layer.base for path, layer in adapted.items()})
