"""Prefix: L learned positions before the input, as keys and values of every layer.

Li and Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", arXiv:2101.00190: §4.2 what
is learned; §4.3 the reparameterisation by an MLP, dropped once training is over; §7.4 starting from the
activations of real words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...core.errors import ModelError
from ...core.hookspecs import hookimpl
from ...core.method import Data, Method, PeftAdapter, Trainable, Weights
from ...core.model.architecture import learned_fault
from ...core.model.base import Base
from ...core.model.gradient import GradientMethod
from ...core.model.initial import frequent_tokens, real_tokens
from ...core.model.root import Learned, Root, read_tokens, stand_before

NAME = "keys_and_values"


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Prefix]


class Prefix(GradientMethod):
    name = "prefix"
    rung = 0.75
    summary = "learned keys and values before the input, at every layer"
    answers = ("label", "choose", "generate", "number", "likelihood")

    class Settings(GradientMethod.Settings):
        learning_rate: float = Field(0.1, gt=0)
        length: int = Field(20, ge=1, description="learned positions before the input")
        initial: Literal["text", "vocabulary", "mlp"] = Field(
            "text", description="start from activations of `text`, of frequent words, or train by an MLP"
        )
        text: str | None = Field(None, description="the words of `initial: text`; default: a training row's")
        mlp_size: int = Field(512, ge=1, description="hidden size of the MLP of `initial: mlp`")

    settings: Settings

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        return learned_fault(settings.length, model)

    def attach(self, model: Any) -> Trainable:
        generator = torch.Generator().manual_seed(self.settings.seed)
        vocabulary = len(model.get_input_embeddings().weight)
        return place(model, activations(model, frequent_tokens(vocabulary, self.settings.length, generator)))

    def start(self, base: Base, data: Data) -> Trainable:
        trainable = self.attach(base.model)
        if self.settings.initial == "text":
            tokens = real_tokens(self.settings.text, base, data, self.settings.length)
            with torch.no_grad():
                trainable.parameters[NAME].copy_(activations(base.model, tokens))
        if self.settings.initial == "mlp":
            trainable.detach()
            return place_mlp(
                base.model, trainable.parameters[NAME], self.settings.mlp_size, self.settings.seed
            )
        return trainable

    def as_peft(self, weights: Weights, model: Mapping[str, Any]) -> PeftAdapter:
        length, layers, _, heads, size = weights[NAME].shape
        return PeftAdapter(
            config={
                "peft_type": "PREFIX_TUNING",
                "num_virtual_tokens": length,
                "token_dim": heads * size,
                "num_transformer_submodules": 1,
                "num_attention_heads": heads,  # of keys and values, which may be fewer than of queries
                "num_layers": layers,
                "encoder_hidden_size": heads * size,
                "prefix_projection": False,
            },
            # For each position the keys and then the values of the first layer, those of the second, ...
            tensors={"prompt_embeddings": weights[NAME].flatten(1)},
        )


@torch.no_grad()
def activations(model: Any, tokens: Sequence[int]) -> Tensor:
    """Keys and values of the tokens at each layer, [L, layers, 2, heads, D], in float32 at least.

    Raises ModelError where they are not of one shape.
    """
    root = read_tokens(model, tokens)
    if len({each.shape for layer in root.layers for each in layer}) > 1:
        raise ModelError("prefix: the keys and values of this base are not all of one shape")
    stacked = torch.stack([torch.stack(layer) for layer in root.layers])  # [layers, 2, 1, heads, L, D]
    found = stacked[:, :, 0].permute(3, 0, 1, 2, 4)
    return found.to(torch.promote_types(found.dtype, torch.float32)).contiguous()


def as_root(prefix: Tensor, dtype: torch.dtype) -> Root:
    """prefix [L, layers, 2, heads, D]."""
    layers = prefix.to(dtype).permute(1, 2, 3, 0, 4)[:, :, None]  # [layers, 2, 1, heads, L, D]
    return Root(tuple((layer[0], layer[1]) for layer in layers))


def place(model: Any, start: Tensor) -> Trainable:
    """A prefix [L, layers, 2, heads, D] before every input of the model."""
    prefix = nn.Parameter(start.detach().clone())
    learned = Learned(len(prefix), lambda: as_root(prefix, model.dtype))
    return Trainable(parameters={NAME: prefix}, detach=stand_before(model, learned))


class Reparameterised(nn.Module):
    """A prefix of the shape of `like`, as an MLP makes it of L smaller vectors."""

    def __init__(self, like: Tensor, size: int, seed: int) -> None:
        super().__init__()
        self.shape = like.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.small = nn.Parameter(torch.randn(len(like), size))
            self.mlp = nn.Sequential(
                nn.Linear(size, size), nn.Tanh(), nn.Linear(size, like.numel() // len(like))
            )
        self.to(like.device, like.dtype)

    def forward(self) -> Tensor:
        """[L, layers, 2, heads, D]."""
        prefix: Tensor = self.mlp(self.small).view(self.shape)
        return prefix


def place_mlp(model: Any, like: Tensor, size: int, seed: int) -> Trainable:
    """A prefix that is trained through an MLP, of which it alone is kept."""
    reparameterised = Reparameterised(like, size, seed)
    detach = stand_before(model, Learned(len(like), lambda: as_root(reparameterised(), model.dtype)))

    def keep() -> Trainable:
        detach()
        return place(model, reparameterised())

    return Trainable(dict(reparameterised.named_parameters()), detach, keep=keep)
