"""Soft prompt: L learned vectors before the input, in place of the embeddings of words.

Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", arXiv:2104.08691: §2 what is
learned, §3.2 where it starts (sampled from the most frequent words of the vocabulary, or from given words).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...core.hookspecs import hookimpl
from ...core.method import Data, Method, PeftAdapter, Trainable, Weights
from ...core.model.architecture import learned_fault, read_config
from ...core.model.base import Base
from ...core.model.gradient import GradientMethod
from ...core.model.initial import frequent_tokens, real_tokens
from ...core.model.root import Learned, read_embeddings, stand_before

NAME = "prompt_embeddings"


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [SoftPrompt]


class SoftPrompt(GradientMethod):
    name = "soft_prompt"
    rung = 0.5
    summary = "learned vectors before the input, the weights frozen"
    answers = ("label", "choose", "generate", "number", "likelihood")

    class Settings(GradientMethod.Settings):
        learning_rate: float = Field(0.03, gt=0)
        length: int = Field(20, ge=1, description="learned vectors before the input")
        initial: Literal["text", "vocabulary", "random"] = Field(
            "vocabulary", description="start from the words of `text`, from frequent words, or from noise"
        )
        text: str | None = Field(None, description="the words of `initial: text`; default: a training row's")

    settings: Settings

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        return learned_fault(settings.length, model)

    def attach(self, model: Any) -> Trainable:
        embedding = model.get_input_embeddings().weight
        generator = torch.Generator().manual_seed(self.settings.seed)
        if self.settings.initial == "random":
            noise = torch.randn(self.settings.length, embedding.shape[1], generator=generator)
            start = noise.to(embedding) * embedding.std()
        else:
            start = embedding[frequent_tokens(len(embedding), self.settings.length, generator)]
        return place(model, start)

    def start(self, base: Base, data: Data) -> Trainable:
        trainable = self.attach(base.model)
        if self.settings.initial == "text":
            tokens = real_tokens(self.settings.text, base, data, self.settings.length)
            with torch.no_grad():
                trainable.parameters[NAME].copy_(base.model.get_input_embeddings().weight[tokens])
        return trainable

    def as_peft(self, weights: Weights, model: Mapping[str, Any]) -> PeftAdapter:
        config = read_config(model).get_text_config()
        length, size = weights[NAME].shape
        return PeftAdapter(
            config={
                "peft_type": "PROMPT_TUNING",
                "num_virtual_tokens": length,
                "token_dim": size,
                "num_transformer_submodules": 1,
                "num_attention_heads": config.num_attention_heads,
                "num_layers": config.num_hidden_layers,
                "prompt_tuning_init": "RANDOM",  # TEXT would want its tokenizer when it is loaded
            },
            tensors={NAME: weights[NAME]},
        )


def place(model: Any, start: Tensor) -> Trainable:
    """Vectors [L, H] before every input of the model, learned in float32 at least."""
    vectors = nn.Parameter(start.detach().to(torch.promote_types(start.dtype, torch.float32)).clone())
    learned = Learned(len(vectors), partial(read_embeddings, model, vectors))
    return Trainable(parameters={NAME: vectors}, detach=stand_before(model, learned))
