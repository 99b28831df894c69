"""What a base's config.json tells of its architecture, before any weight is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..bases import base_kind
from ..data.lengths import context_of


def read_config(model: Mapping[str, Any]) -> Any:
    """transformers' own reading of a config.json, whose names are the same for all families."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**model).get_text_config()


def skeleton(model: Mapping[str, Any]) -> Any:
    """A base with this config.json without its weights, or None where transformers knows no such base.

    Its tensors are on the device `meta`: they have shapes, and take no memory.
    """
    import torch
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, AutoModelForCausalLM

    if model.get("model_type") not in CONFIG_MAPPING:
        return None
    kind = {"causal": AutoModelForCausalLM, "encoder": AutoModel}[base_kind(model)]
    try:
        with torch.device("meta"):
            return kind.from_config(AutoConfig.for_model(**model), trust_remote_code=False)
    except ValueError:
        return None  # whether it can be loaded at all is told elsewhere


def keeps_keys_and_values(model: Mapping[str, Any]) -> bool:
    """Whether a base with this config.json attends to keys and values that can be given to it."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    name = model.get("model_type")
    if name not in CONFIG_MAPPING or CONFIG_MAPPING[name] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return True  # whether it can be loaded at all is told elsewhere
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[name]]
    takes_them = "past_key_values" in inspect.signature(kind.forward).parameters
    return takes_them and not getattr(kind, "_is_stateful", False)


def tied_weights(model: Mapping[str, Any]) -> Mapping[str, str]:
    """Names of weights that are the same as another one, with the name of that."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    name = model["model_type"]
    if name not in CONFIG_MAPPING or not read_config(model).tie_word_embeddings:
        return {}
    tied: Mapping[str, str] = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[name]]._tied_weights_keys or {}
    return tied


def learned_fault(length: int, model: Mapping[str, Any]) -> str | None:
    """Why `length` learned positions cannot stand before the input of this base; None if they can."""
    if not keeps_keys_and_values(model):
        return f"a base of the type {model['model_type']} has no keys and values to put before its input"
    context = context_of(model)
    if length > context - 2:
        return f"length: {length} learned positions leave no room: the base attends to {context} tokens"
    return None
