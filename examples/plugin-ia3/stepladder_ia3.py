"""IA3: learned vectors that rescale keys, values, and the inner activations of the MLP.

Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
arXiv:2205.05638, §3.3: l_k and l_v stand before keys and values, l_ff before the MLP's second layer; all
start at one, so that training starts at the base, and all fold into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pydantic import Field
from stepladder.core.hookspecs import hookimpl
from stepladder.core.method import Method, Trainable
from stepladder.core.model.gradient import GradientMethod
from stepladder.core.model.layers import find_layers, layers_fault, linear_shape, replace_modules
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

STEPLADDER_API = 1


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [IA3]


class Rescaled(nn.Module):
    """A frozen linear layer whose inputs or outputs are multiplied by a learned vector."""

    def __init__(self, base: nn.Module, inputs: bool) -> None:
        super().__init__()
        size = linear_shape(base)[0 if inputs else 1]
        self.base, self.inputs = base, inputs
        self.vector = nn.Parameter(torch.ones(size, device=base.weight.device))  # [in] or [out]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] to [..., out]."""
        vector = self.vector.to(x.dtype)
        return self.base(x * vector) if self.inputs else self.base(x) * vector

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the weight's rows or columns, and the bias of rescaled outputs."""
        by_rows = self.inputs == isinstance(self.base, Conv1D)  # whose weight is [in, out]
        weight, vector = self.base.weight, self.vector
        weight.copy_(weight.to(vector.dtype) * (vector[:, None] if by_rows else vector))
        if self.base.bias is not None and not self.inputs:
            self.base.bias.copy_(self.base.bias.to(vector.dtype) * vector)


class IA3(GradientMethod):
    name = "ia3"
    rung = 1.4
    summary = "vectors that rescale keys, values and the MLP; merges into the weights"
    answers = ("label", "choose", "generate", "number", "likelihood")

    class Settings(GradientMethod.Settings):
        learning_rate: float = Field(5e-2, gt=0)
        outputs: list[str] = Field(["k_proj", "v_proj"], description="layers whose outputs are rescaled")
        inputs: list[str] = Field(["down_proj"], description="layers whose inputs are rescaled")

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        return layers_fault([*settings.outputs, *settings.inputs], model)

    def attach(self, model: Any) -> Trainable:
        layers = {
            path: Rescaled(layer, inputs)
            for names, inputs in ((self.settings.outputs, False), (self.settings.inputs, True))
            for path, layer in find_layers(model, names).items()
        }
        replace_modules(model, layers)
        own = partial(replace_modules, model, {path: layer.base for path, layer in layers.items()})

        def merge() -> None:
            for layer in layers.values():
                layer.fold()
            own()

        return Trainable({f"{path}.ia3": layer.vector for path, layer in layers.items()}, own, merge)
