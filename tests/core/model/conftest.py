"""Tiny random models in float64, one for each family, and rows to put through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from stepladder.core.types import Encoded
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 97
WINDOW = 5
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.12,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED: dict[str, Any] = SHAPE | {"num_key_value_heads": 2, "intermediate_size": 48, "head_dim": 8}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
SLIDING: dict[str, Any] = {"sliding_window": WINDOW, "layer_types": LAYERS}
NO_CAPS = {"final_logit_softcapping": None, "attn_logit_softcapping": None}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "llama_tied": ("llama", GROUPED | {"tie_word_embeddings": True}),
    "llama_eager": ("llama", GROUPED | {"attn_implementation": "eager"}),
    "qwen2": ("qwen2", GROUPED),
    "qwen2_sliding": (
        "qwen2",
        GROUPED | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", GROUPED),
    "gpt2": ("gpt2", SHAPE),
    "gpt2_dropout": ("gpt2", SHAPE | {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}),
    "gemma": ("gemma", GROUPED),
    "gemma2": ("gemma2", GROUPED | SLIDING | NO_CAPS),
    "gemma2_capped": ("gemma2", GROUPED | SLIDING | NO_CAPS | {"final_logit_softcapping": 0.5}),
    "gemma3": ("gemma3_text", GROUPED | SLIDING),
    "mistral": ("mistral", GROUPED | {"sliding_window": WINDOW}),
    "neox": ("gpt_neox", SHAPE | {"intermediate_size": 48}),
    "opt_dropout": (
        "opt",
        SHAPE | {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.5, "attention_dropout": 0.5},
    ),
    "granite": ("granite", GROUPED | {"logits_scaling": 0.25}),
    "bloom": ("bloom", SHAPE),
    "mamba": ("mamba", SHAPE | {"state_size": 4, "expand": 2, "time_step_rank": 4}),
}


def make_model(family: str) -> Any:
    """A fresh random model of the family, as a base is: float64, frozen, in evaluation mode."""
    model_type, settings = FAMILIES[family]
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **settings))
    return model.double().eval().requires_grad_(False)


def random_ids(count: int, seed: int) -> list[int]:
    """Ordinary tokens: none of the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()


def make_rows() -> list[Encoded]:
    """Unequal lengths behind a prefix longer than the window; a duplicate, a prefix of another, two turns."""
    start = random_ids(9, seed=1)
    question = start + random_ids(4, seed=2)

    def row(tokens: list[int], *turns: range) -> Encoded:
        return Encoded(tokens, [any(place in turn for turn in turns) for place in range(len(tokens))])

    longest = question + random_ids(7, seed=3)
    return [
        row(longest, range(13, 20)),
        row(question + random_ids(2, seed=4), range(13, 15)),
        row(longest[:16], range(13, 16)),
        row(longest[:16], range(13, 16)),
        row(start + random_ids(8, seed=5), range(10, 12), range(15, 16)),
        row(random_ids(6, seed=6), range(1, 6)),
    ]


@pytest.fixture
def model_of() -> Callable[[str], Any]:
    return make_model


@pytest.fixture
def rows() -> list[Encoded]:
    return make_rows()
