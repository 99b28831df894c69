"""Where learned vectors before the input start: the tokens whose vectors they are at first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

import torch

from ..errors import ModelError
from ..method import Data
from .base import Base

FREQUENT = 5000


def frequent_tokens(vocabulary: int, count: int, generator: torch.Generator) -> list[int]:
    """So many tokens out of the first ones of the vocabulary, which stand there by how frequent they are."""
    drawn: list[int] = torch.randint(min(FREQUENT, vocabulary), (count,), generator=generator).tolist()
    return drawn


def real_tokens(text: str | None, base: Base, data: Data, count: int) -> list[int]:
    """The first `count` tokens of `text`, or of a training row as it is read; repeated where they are fewer.

    Raises ModelError for a text without tokens.
    """
    tokens: Sequence[int] = data.train.encoded(0).tokens
    if text is not None:
        tokens = base.renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not tokens:
        raise ModelError(f"text: {text!r} has no tokens to start from")
    return list(islice(cycle(tokens), count))
