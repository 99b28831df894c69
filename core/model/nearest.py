"""The rows of a pool that are nearest to a question: by the cosine of their inputs' embeddings.

An embedding is the mean of the last hidden states over a text's tokens (Reimers and Gurevych 2019,
"Sentence-BERT", arXiv:1908.10084, §3), of the base itself or of an encoder beside it. The pool's are kept
with the candidate; a question's is made when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from ..bases import DEFAULT_ENCODER, base_kind, is_endpoint
from ..errors import ModelError
from ..method import Prompt
from .base import Base, load_base
from .locate import base_fault, resolve_base
from .prompts import read_beside

OWN = "base"
ROOT = Path("/")  # an encoder's folder is given by its whole path
POOL_FILE, POOL = "pool.safetensors", "inputs"
EMBEDDER = "embedder_fingerprint"
REMEMBERED = 4096


class Nearest:
    """A pool by its embeddings, [rows, H] of unit length in float32, and the model that they are of.

    `places(text, count)` gives the places in the pool of the `count` nearest to a text, the nearest last; of
    equals the earlier one is nearer.
    """

    def __init__(self, embedder: Base, pool: Tensor) -> None:
        self.embedder = embedder
        self.pool = pool
        self.places = lru_cache(REMEMBERED)(self._search)

    def _search(self, text: str, count: int) -> Sequence[int]:
        likeness = self.pool @ embed(self.embedder, [text])[0]  # [rows]
        order = torch.sort(likeness, descending=True, stable=True).indices
        places: list[int] = order[:count].flip(0).tolist()
        return places


def find_nearest(prompt: Prompt, base: Base) -> Nearest | None:
    """Of the prompt's demonstrations; None where it draws them at random or not at all."""
    if prompt.embedding is None:
        return None
    embedder = _embedder(prompt.embedding, base)
    return Nearest(embedder, embed(embedder, [example.input for example in prompt.demonstrations]))


def save_nearest(nearest: Nearest | None, folder: Path) -> dict[str, str]:
    """Write the pool; returns what prompt.json must say of it."""
    if nearest is None:
        return {}
    save_file({POOL: nearest.pool}, folder / POOL_FILE, metadata={"format": "pt"})
    return {EMBEDDER: nearest.embedder.ref.fingerprint}


def load_nearest(folder: Path, prompt: Prompt, base: Base) -> Nearest | None:
    """What `save_nearest` wrote. Raises ModelError where the encoder is another now."""
    if prompt.embedding is None:
        return None
    embedder, expected = _embedder(prompt.embedding, base), read_beside(folder, EMBEDDER)
    if embedder.ref.fingerprint != expected:
        raise ModelError(
            f"{folder}: its demonstrations were embedded by {prompt.embedding}, sha256 {expected[:12]}, "
            f"and here that is {embedder.ref.fingerprint[:12]}: install it as it was, or fit it again"
        )
    return Nearest(embedder, load_file(folder / POOL_FILE)[POOL])


def embed(model: Base, texts: Sequence[str]) -> Tensor:
    """[texts, H] of unit length, in float32, on the CPU; of a long text what the model reads of it."""
    sequences = [tokens[: model.context_length] for tokens in model.renderer.sequences(texts)]
    means: dict[int, Tensor] = {}
    with torch.no_grad():
        for batch in model.engine.last_states(sequences):
            means |= {index: states.float().mean(dim=0).cpu() for index, states in batch}  # [length, H] each
    return normalize(torch.stack([means[index] for index in range(len(texts))]), dim=1)


def embedding_fault(embedding: str, model: Mapping[str, Any]) -> str | None:
    """Why nearness cannot be told so on a base whose config.json is `model`; None if it can."""
    if embedding != OWN:
        url = "a URL, which shows no hidden states" if is_endpoint(embedding) else None
        fault = url or base_fault(embedding, ROOT)
        return f"embedding: {fault}" if fault else None
    if base_kind(model) == "endpoint":
        return (
            f"embedding: found {OWN!r}, and an endpoint shows no hidden states: name an encoder, "
            f"such as {DEFAULT_ENCODER}"
        )
    return None


def _embedder(embedding: str, base: Base) -> Base:
    return base if embedding == OWN else load_base(resolve_base(embedding, ROOT))
