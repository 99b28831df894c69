"""Text that a base writes by itself, from which it can be reminded of what it knew.

Each text begins with one ordinary token drawn uniformly; the rest is drawn from the base's own distribution,
nothing cut off: as Liu et al. 2023, "LLM-QAT", arXiv:2305.17888, do (their first few tokens are greedy).
That training on what a network itself says keeps what it knows: Robins 1995, "Catastrophic Forgetting,
Rehearsal and Pseudorehearsal".
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..types import Encoded
from .base import Base
from .generate import Decoding, generate


def write_texts(base: Base, texts: int, tokens: int, seed: int) -> list[Encoded]:
    """So many texts of at most `tokens` tokens, of which all that the base wrote are trained.

    Call it before anything is attached. Texts that end with their first token are left out.
    """
    prompts = _beginnings(base, texts, seed)
    limit = tokens - len(prompts[0])
    decoding = Decoding(temperature=1.0, max_new_tokens=limit, seed=seed)
    written = generate(base.model, prompts, base.renderer.stop_ids, decoding)
    return [
        Encoded([*prompt, *said.tokens], [False] * len(prompt) + [True] * len(said.tokens))
        for prompt, (said,) in zip(prompts, written, strict=True)
        if said.tokens
    ]


def _beginnings(base: Base, texts: int, seed: int) -> Sequence[list[int]]:
    """The begin token, where the tokenizer puts one, and a token that is no special one."""
    tokenizer = base.renderer.tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ordinary = [token for token in range(tokenizer.vocab_size) if token not in special]
    begin = base.renderer.begin
    return [[*begin, token] for token in random.Random(seed).choices(ordinary, k=texts)]
