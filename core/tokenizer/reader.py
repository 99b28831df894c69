"""Texts to tokens for a base that reads and does not write: no template, no masks, nothing to train on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..types import Encoded
from .renderer import Renderer
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Reader(Renderer):
    """Reads with one tokenizer, at most `context` tokens of a text.

    Nothing that it reads is a conversation: what a template would print is never asked of it, since only
    methods run on such a base that read (`Method.bases`).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context: int) -> None:
        self.tokenizer = tokenizer
        self.has_template = False
        self.stop_ids = frozenset()
        self.context = min(context, tokenizer.model_max_length)
        self._vocabulary = Vocabulary(tokenizer)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that decides how a text becomes tokens."""
        return self._vocabulary.digest()

    def sequences(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text with those that the tokenizer puts around it, cut where it is too long."""
        return self._read(texts, longest=self.context)

    def rows(self, texts: Sequence[str]) -> list[Encoded]:
        """The same, not cut, as rows of which no token is trained."""
        return [Encoded(tokens, [False] * len(tokens)) for tokens in self._read(texts)]

    def _read(self, texts: Sequence[str], longest: int | None = None) -> list[list[int]]:
        if not texts:
            return []
        cut = {"truncation": longest is not None, "max_length": longest}
        tokens: list[list[int]] = self.tokenizer(list(texts), verbose=False, **cut)["input_ids"]
        return tokens
