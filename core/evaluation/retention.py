"""Retention: how well a base still predicts ordinary text, on fixed windows of it.

Forgetting = perplexity after / perplexity before - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..data.texts import read_texts
from ..errors import DataError, StepError
from ..model.base import Base
from ..model.root import learned_length
from ..types import Encoded

WINDOW = 512
MAX_TOKENS = 4608
MIN_TOKENS = 4000


@dataclass(frozen=True)
class Retention:
    """Perplexity over so many predicted tokens."""

    perplexity: float
    tokens: int


def read_retain_text(path: Path) -> str:
    """The texts of a JSONL file's `text` column (or of a plain text file), joined by blank lines.

    Raises DataError where there is none.
    """
    return "\n\n".join(read_texts(path, "retain.text"))


def retention_windows(base: Base, text: str) -> list[Encoded]:
    """Windows of WINDOW tokens without overlap; each one's first token is given, not predicted.

    They take at most half of the context, so that there is room for what a method puts before them. Raises
    DataError for a text of fewer than MIN_TOKENS tokens.
    """
    tokens = base.renderer.tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TOKENS]
    if len(tokens) < MIN_TOKENS:
        raise DataError(
            f"retain.text: {len(tokens)} tokens; at least {MIN_TOKENS:,} are needed for a perplexity that "
            "means something: add text, or remove `retain`"
        )
    length = min(WINDOW, base.context_length // 2)
    windows = [tokens[start : start + length] for start in range(0, len(tokens), length)]
    return [Encoded(w, [False] + [True] * (len(w) - 1)) for w in windows if len(w) > 1]


def measure_retention(base: Base, text: str) -> Retention:
    """Perplexity of the base as it stands now: adapters, merged weights and learned positions included.

    Raises StepError where the learned positions leave no room.
    """
    windows = retention_windows(base, text)
    learned, length = learned_length(base.model), len(windows[0].tokens)
    if learned + length > base.context_length:
        raise StepError(
            f"retain: there is no room for {length} tokens behind {learned} learned positions: "
            f"{base.ref.name} attends to {base.context_length} tokens; lower length"
        )
    values = base.engine.log_probabilities(windows)
    tokens = sum(map(len, values))
    return Retention(math.exp(-sum(map(sum, values)) / tokens), tokens)
