"""A base model, loaded: the weights, the renderer of its tokenizer, and the engine that suits it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..bases import base_kind, is_endpoint, read_model_config
from ..data.lengths import context_length
from ..errors import ModelError
from ..tokenizer import Reader, Renderer
from ..types import BaseKind, Example
from .encoder import EncoderEngine
from .endpoint import Endpoint
from .engine import Engine, PlainEngine, make_engine
from .locate import BaseRef

# Attention is quadratic in a tree's tokens; measured best on 2 CPU cores with a 135M model.
TREE_TOKENS_CPU = 1024
TREE_TOKENS_GPU = 4096


@dataclass(frozen=True)
class Base:
    """What a method adapts. `model` is in evaluation mode: its dropout is off, in training too, since a
    token shared by several rows can be dropped for all of them or for none.

    Of an endpoint `model` is the `Endpoint`, and of the kind `none` it is nothing; neither has a renderer or
    an engine: only methods that name the kind in their `bases` are given one.
    """

    ref: BaseRef
    model: Any
    renderer: Renderer
    engine: Engine
    kind: BaseKind = "causal"

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> str:
        """What it computes in, as far as that is known; without a base, what a method computes in itself."""
        elsewhere = {"endpoint": "unknown", "none": "float32"}
        return elsewhere.get(self.kind) or str(self.model.dtype).removeprefix("torch.")

    @property
    def hidden_size(self) -> int:
        size: int = self.model.config.get_text_config().hidden_size
        return size

    @property
    def context_length(self) -> int:
        """Tokens that the base can attend to."""
        return context_length(Path(self.ref.path))

    def read(self, examples: Sequence[Example], instruction: str) -> list[list[int]]:
        """The tokens of each example as a head on the base reads it.

        The instruction stands last, so that its tokens have read the row; an encoder, whose tokens all read
        each other, is given the row alone.
        """
        alone = self.kind == "encoder" or not instruction
        texts = [each.input if alone else f"{each.input}\n\n{instruction}" for each in examples]
        return self.renderer.sequences(texts)


def load_base(ref: BaseRef, log: Callable[[str], None] = lambda _: None) -> Base:
    """Load weights and tokenizer from the base's folder. Raises ModelError where transformers cannot.

    Of an endpoint nothing is loaded, and nothing is asked yet.
    """
    if not ref.has_weights:
        return _not_here(ref)
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = compute_dtype(device)
    try:
        kind = base_kind(read_model_config(Path(ref.path)))
        model = {"causal": AutoModelForCausalLM, "encoder": AutoModel}[kind].from_pretrained(
            ref.path, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(ref.path, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"base {ref.name}: transformers cannot load {Path(ref.path)}: {error}") from error
    model.requires_grad_(False).eval().to(device)
    if kind == "encoder":
        reader = Reader(tokenizer, context_length(Path(ref.path)))
        return Base(ref, model, reader, EncoderEngine(model, _tree_tokens(device)), kind)
    engine = make_engine(model, _tree_tokens(device))
    if isinstance(engine, PlainEngine):
        log(
            f"{ref.name}: its logits are not a linear head on its trunk, so rows run padded through its own "
            "forward, without a shared prefix"
        )
    return Base(ref, model, Renderer(tokenizer), engine)


def _not_here(ref: BaseRef) -> Base:
    nothing: Any = None
    if is_endpoint(ref.name):
        return Base(ref, model=Endpoint(ref), renderer=nothing, engine=nothing, kind="endpoint")
    return Base(ref, model=nothing, renderer=nothing, engine=nothing, kind="none")


def _tree_tokens(device: torch.device) -> int:
    return TREE_TOKENS_GPU if device.type == "cuda" else TREE_TOKENS_CPU


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it fast, else float32 (142 times faster on a plain CPU)."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32
