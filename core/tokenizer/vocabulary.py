"""A transformers tokenizer as the renderer needs it: ids of many texts, begin, end and special tokens.

Special tokens are cut out of a text before anything else is tokenized, so no token ever spans one.
Cutting the texts there ourselves gives the same ids, and the pieces that prompts, turns and rows have
in common (a system prompt, an instruction, a label) are then tokenized once a batch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Corpora spell the unknown word so; it opens and ends nothing.
HARMLESS = frozenset({"<unk>"})


class Vocabulary:
    """Token ids of texts. `begin` are the ids the tokenizer itself puts first, `end` its end-of-text id."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.name: str = tokenizer.name_or_path or type(tokenizer).__name__
        self.begin = self._begin()
        self.end: int | None = tokenizer.eos_token_id
        self.special_ids = frozenset(tokenizer.all_special_ids) | frozenset(tokenizer.added_tokens_decoder)
        self._cut: re.Pattern[str] | None = None

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, nothing added. The tokenizer takes the whole list at once."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return ids

    def table(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Ids of each distinct text, by text; common pieces are tokenized once."""
        pieces = {text: self._pieces(text) for text in texts}
        distinct = list(dict.fromkeys(chain.from_iterable(pieces.values())))
        ids = dict(zip(distinct, self.ids(distinct), strict=True))
        return {text: list(chain.from_iterable(ids[piece] for piece in cut)) for text, cut in pieces.items()}

    def cut_at_tokens_in(self, text: str) -> None:
        """Cut texts from now on before those special tokens of `text` that are safe to cut at."""
        safe = [token for token in self._cuttable() if token in text]
        self._cut = re.compile(f"(?={any_of(safe).pattern})") if safe else None

    def special_strings(self) -> frozenset[str]:
        """Every special token, as content must not spell it."""
        added = self.tokenizer.added_tokens_decoder.values()
        named = [*self.tokenizer.all_special_tokens, *(token.content for token in added if token.special)]
        return frozenset(token for token in named if token.strip()) - HARMLESS

    def begin_text(self) -> str:
        return "".join(self.tokenizer.convert_ids_to_tokens(self.begin))

    def digest(self) -> str:
        """sha256 over all that decides how text becomes ids: tokens, merges, normalizer, special tokens."""
        parts = [self.tokenizer.special_tokens_map, self._model()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _model(self) -> Any:
        if not self.tokenizer.is_fast:
            return self.tokenizer.get_vocab()
        model = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # Both are switched on and off by whoever called the tokenizer last.
        return {**model, "padding": None, "truncation": None}

    def _begin(self) -> list[int]:
        bare = self.ids(["a"])[0]
        dressed: list[int] = self.tokenizer("a")["input_ids"]
        starts = range(len(dressed) - len(bare) + 1)
        return next((dressed[:start] for start in starts if dressed[start : start + len(bare)] == bare), [])

    def _pieces(self, text: str) -> list[str]:
        return [piece for piece in self._cut.split(text) if piece] if self._cut else [text]

    def _cuttable(self) -> list[str]:
        """Added tokens that are found wherever they stand, whatever is around them."""
        if not self.tokenizer.is_fast:
            return []
        added = list(self.tokenizer.added_tokens_decoder.values())
        texts = [token.content for token in added]
        plain = [t.content for t in added if not (t.lstrip or t.single_word or t.normalized)]
        return [
            token for token in plain if not any(_hides(other, token) for other in texts if other != token)
        ]


def _hides(other: str, token: str) -> bool:
    """Whether a match of `other` could swallow a part of `token` that stands in a text."""
    return token[0] in other[1:] or other.startswith(token)


def any_of(strings: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the strings, the longest first; nothing at all for none."""
    longest_first = sorted(strings, key=lambda string: (-len(string), string))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
