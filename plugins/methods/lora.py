"""LoRA: a low-rank update B A beside frozen linear layers, scaled by alpha / r.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, §4.1: A is random,
B is zero, so that training starts at the base. Variants, all saved as plain factors:
rank-stabilised scale alpha / sqrt(r), Kalajdzievski 2023, arXiv:2312.03732, theorem 3.2;
LoRA+, a higher learning rate for B than for A, Hayou et al. 2024, arXiv:2402.12354 (their ratio: 2^4);
DoRA, the length of each row of a weight learned apart from its direction, Liu et al. 2024,
arXiv:2402.09353, eq. 5, with the length of W + B A as a constant in the gradient, §4.3;
PiSSA, where A and B start at the principal singular vectors, Meng et al. 2024, arXiv:2404.02948, §3.
On a base whose weights are quantised to 4 bits it is QLoRA, Dettmers et al. 2023, arXiv:2305.14314.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ...core.bases import quantisation
from ...core.hookspecs import hookimpl
from ...core.method import Data, Fold, Method, PeftAdapter, Trainable, Weights
from ...core.model.architecture import skeleton
from ...core.model.base import Base
from ...core.model.gradient import GradientMethod, HeadSettings
from ...core.model.layers import (
    find_layers,
    layers_fault,
    linear_layers,
    linear_shape,
    replace_modules,
    shortest_names,
)

A, B, MAGNITUDE = "lora_A", "lora_B", "lora_magnitude_vector"
START_A, START_B = "start_A", "start_B"
# Families whose linear layers are Conv1D, with weights [in, out].
TRANSPOSED = ("gpt2", "openai-gpt")
# Weights are folded by so many elements at once, so that no second copy of a large one is held.
CHUNK = 1 << 18
# Rounds of the randomised singular value decomposition: the most that PiSSA's authors compare.
SVD_ROUNDS = 16
T = TypeVar("T")


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
        self.subtracted: dict[str, Tensor] = {}

    def learned(self) -> dict[str, nn.Parameter]:
        return {A: self.lora_a, B: self.lora_b}

    def factors(self) -> tuple[Tensor, Tensor]:
        """A [r, in] and B [out, r] of the whole update."""
        return whole_factors({A: self.lora_a, B: self.lora_b, **self.subtracted})

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        result: Tensor = self.base(x) + self.update(x)
        return result

    def update(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        a, b = self.factors()
        return nn.functional.linear(nn.functional.linear(x, a.to(x.dtype)), b.to(x.dtype)) * self.scale

    def weight(self) -> Tensor:
        """The frozen weight [out, in]."""
        weight: Any = self.base.weight
        found: Tensor = weight.T if isinstance(self.base, Conv1D) else weight
        return found

    def subtract_start(self) -> None:
        """Count the update from its start, which the frozen weight holds already."""
        self.subtracted = {START_A: self.lora_a.detach().clone(), START_B: self.lora_b.detach().clone()}

    @torch.no_grad()
    def start_at_principal(self, seed: int) -> None:
        """Begin with the weight's part in its first r singular directions."""
        rank, weight = len(self.lora_a), self.weight().to(self.lora_a.dtype)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            u, s, v = torch.svd_lowrank(weight, q=min(2 * rank, *weight.shape), niter=SVD_ROUNDS)
        root = (s[:rank] / self.scale).sqrt()
        self.lora_a.copy_(root[:, None] * v.T[:rank])
        self.lora_b.copy_(u[:, :rank] * root)

    @torch.no_grad()
    def fold(self) -> None:
        """Make the frozen weight the one that this layer multiplies by, in float32 at least."""
        weight = self.weight()
        weight.copy_(fold_update(weight, *self.factors(), self.scale, self.learned().get(MAGNITUDE)))


class DoraLinear(LoraLinear):
    """A frozen linear layer whose weight's rows turn by the update, and have learned lengths."""

    def __init__(self, base: nn.Module, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__(base, rank, scale, generator)
        lengths = torch.linalg.vector_norm(self.weight(), dim=1, dtype=self.lora_a.dtype)
        self.squares = lengths.square()  # [out]
        self.magnitude = nn.Parameter(self.squares.sqrt())  # [out]

    def learned(self) -> dict[str, nn.Parameter]:
        return {**super().learned(), MAGNITUDE: self.magnitude}

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]; at the start exactly what the frozen layer says."""
        said: Tensor = self.base(x)
        bias: Tensor | None = self.base.bias  # type: ignore[assignment]
        turned = said if bias is None else said - bias
        share = self.magnitude / self.lengths()  # [out]
        return said + (share - 1).to(x.dtype) * turned + share.to(x.dtype) * self.update(x)

    @torch.no_grad()
    def lengths(self) -> Tensor:
        """Of the rows of W + scale B A, [out], by their squares' parts, so that no [out, in] is made."""
        a, b = self.factors()
        crossed = (self.weight() @ a.T.to(self.weight().dtype)).to(b.dtype)  # [out, r]
        added = (b * (2 * self.scale * crossed + self.scale**2 * b @ (a @ a.T))).sum(1)
        lengths: Tensor = (self.squares + added).sqrt()
        return lengths


def whole_factors(saved: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A [r, in] and B [out, r] of an update; of one whose start is subtracted twice as long, for
    B A - B0 A0 = [B, -B0] [A; A0].
    """
    if START_A not in saved:
        return saved[A], saved[B]
    return torch.cat([saved[A], saved[START_A]]), torch.cat([saved[B], -saved[START_B]], 1)


def fold_update(weight: Tensor, a: Tensor, b: Tensor, scale: float, lengths: Tensor | None = None) -> Tensor:
    """weight [out, in] plus scale * b [out, r] a [r, in], in the dtype of the factors, rounded once.

    Its rows are given the `lengths` [out] where there are any.
    """
    folded = torch.empty_like(weight)
    step = max(1, CHUNK // weight.shape[1])
    for rows in (slice(start, start + step) for start in range(0, len(weight), step)):
        updated = weight[rows].to(b.dtype) + (b[rows] @ a) * scale
        if lengths is not None:
            updated *= (lengths[rows] / updated.norm(dim=1))[:, None]
        folded[rows] = updated
    return folded


def fold_transposed(weight: Tensor, **update: Any) -> Tensor:
    """The same for a weight [in, out]."""
    return fold_update(weight.T, **update).T


class Lora(GradientMethod):
    name = "lora"
    rung = 1.5
    summary = "low-rank updates beside frozen layers; merges into the weights"
    answers = ("label", "choose", "generate", "number", "likelihood")
    bases = ("causal", "encoder")

    class Settings(HeadSettings):
        learning_rate: float = Field(4e-3, gt=0)
        rank: int = Field(8, ge=1)
        alpha: float = Field(16, gt=0, description="the update is scaled by alpha / rank")
        target: str | list[str] | None = Field(
            None, description="layers' names, attention, or all-linear; default: queries and values"
        )
        rslora: bool = Field(False, description="scale by alpha / sqrt(rank)")
        b_learning_rate_ratio: float = Field(
            1, gt=0, description="LoRA+: learning rate of B over that of A; its paper's choice is 16"
        )
        dora: bool = Field(False, description="learn the length of each row of a weight apart")
        initial: Literal["random", "pissa"] = Field(
            "random",
            description="A random and B zero, or principal singular vectors; saved at twice the rank",
        )

    settings: Settings

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        if quantisation(model) and (settings.dora or settings.initial == "pissa"):
            return "dora and initial: pissa need the weights themselves, and those of this base are quantised"
        fault = super().base_fault(settings, model) or layers_fault(settings.target, model)
        base = skeleton(model)
        if fault or base is None or settings.initial != "pissa":
            return fault
        smallest = min(min(linear_shape(layer)) for layer in find_layers(base, settings.target).values())
        if settings.rank > smallest:
            return f"rank: {settings.rank}, but a weight of this base has {smallest} singular vectors alone"
        return None

    def attach(self, model: Any) -> Trainable:
        return self._place(model, self._layers(model))

    def start(self, base: Base, data: Data) -> Trainable:
        """Singular vectors are searched for here alone: saved ones are read back into what is attached."""
        layers = self._layers(base.model)
        if self.settings.initial == "pissa":
            for layer in layers.values():
                layer.start_at_principal(self.settings.seed)
                layer.subtract_start()
        return self._place(base.model, layers)

    def _layers(self, model: Any) -> dict[str, LoraLinear]:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        kind = DoraLinear if settings.dora else LoraLinear
        layers = {
            path: kind(layer, settings.rank, self.scale(), generator)
            for path, layer in find_layers(model, settings.target).items()
        }
        if settings.initial == "pissa":
            for layer in layers.values():
                layer.subtract_start()
        return layers

    def _place(self, model: Any, adapted: Mapping[str, LoraLinear]) -> Trainable:
        replace_modules(model, adapted)
        parameters = by_path({path: layer.learned() for path, layer in adapted.items()})
        return Trainable(
            parameters,
            detach=partial(replace_modules, model, {path: layer.base for path, layer in adapted.items()}),
            merge=partial(merge_layers, model, adapted) if are_whole(adapted.values()) else None,
            frozen=by_path({path: layer.subtracted for path, layer in adapted.items()}),
            groups=self._groups(parameters),
        )

    def _groups(self, parameters: Mapping[str, nn.Parameter]) -> list[dict[str, Any]] | None:
        """B has a learning rate of its own where that is asked for."""
        settings = self.settings
        if settings.b_learning_rate_ratio == 1:
            return None
        fast = [parameter for name, parameter in parameters.items() if name.endswith(B)]
        slow = [parameter for name, parameter in parameters.items() if not name.endswith(B)]
        rate = settings.learning_rate * settings.b_learning_rate_ratio
        return [{"params": slow, "lr": settings.learning_rate}, {"params": fast, "lr": rate}]

    def scale(self) -> float:
        """By which the update counts."""
        rank = self.settings.rank
        return self.settings.alpha / (math.sqrt(rank) if self.settings.rslora else rank)

    def as_peft(self, weights: Weights, model: Mapping[str, Any]) -> PeftAdapter:
        updates = saved_updates(weights)
        rank = max(len(a) for a, _ in map(whole_factors, updates.values()))
        alpha = self.scale() * (math.sqrt(rank) if self.settings.rslora else rank)
        return PeftAdapter(
            config={
                "peft_type": "LORA",
                "r": rank,
                "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
                "target_modules": shortest_names(list(updates), list(linear_layers(skeleton(model)))),
                "lora_dropout": 0.0,
                "bias": "none",
                "fan_in_fan_out": model["model_type"] in TRANSPOSED,
                "use_rslora": self.settings.rslora,
                "use_dora": self.settings.dora,
                "rank_pattern": {},
                "alpha_pattern": {},
                "modules_to_save": None,
                "init_lora_weights": True,
            },
            tensors={
                f"base_model.model.{path}.{name}": tensor
                for path, update in updates.items()
                for name, tensor in in_peft(update).items()
            },
        )

    def folds(self, weights: Weights, model: Mapping[str, Any]) -> Mapping[str, Fold]:
        fold = fold_transposed if model["model_type"] in TRANSPOSED else fold_update
        folds: dict[str, Fold] = {}
        for path, update in saved_updates(weights).items():
            a, b = whole_factors(update)
            folds[f"{path}.weight"] = partial(
                fold, a=a, b=b, scale=self.scale(), lengths=update.get(MAGNITUDE)
            )
        return folds


def by_path(named: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    """The things of each path by the path and their own name."""
    return {f"{path}.{name}": each for path, things in named.items() for name, each in things.items()}


def saved_updates(weights: Weights) -> dict[str, dict[str, Tensor]]:
    """The saved tensors of each adapted layer, by its path and their own names."""
    updates: dict[str, dict[str, Tensor]] = {}
    for whole, tensor in weights.items():
        path, _, name = whole.rpartition(".")
        updates.setdefault(path, {})[name] = tensor
    return updates


def in_peft(update: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One layer's saved tensors as PEFT names them."""
    a, b = whole_factors(update)
    lengths = {MAGNITUDE: update[MAGNITUDE]} if MAGNITUDE in update else {}
    return {f"{A}.weight": a, f"{B}.weight": b, **lengths}


def are_whole(layers: Iterable[LoraLinear]) -> bool:
    """Whether the frozen weights are numbers that something can be added to, not packed 4-bit ones."""
    return all(layer.weight().is_floating_point() for layer in layers)


def merge_layers(model: nn.Module, adapted: Mapping[str, LoraLinear]) -> None:
    """Fold every update into its layer, and put the plain layers back."""
    for layer in adapted.values():
        layer.fold()
    replace_modules(model, {path: layer.base for path, layer in adapted.items()})
