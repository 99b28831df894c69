"""Writing: next-token distributions and one loop that samples from them.

Prompts are padded on the left; the key-value cache and the masks of sliding windows are transformers' own.
What is learned and stands before every input (see root.py) is written into that cache first.
Nucleus sampling: Holtzman et al. 2020 (arXiv:1904.09751), §3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .engine import sliding_window
from .root import Root, learned_root, read_tokens
from .tree import common_length

BATCH = 16


@dataclass(frozen=True)
class Decoding:
    """How the next token is drawn (see `Sampling`), how many continuations of each prompt, and how long."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    max_new_tokens: int = 128
    seed: int = 0
    count: int = 1


@dataclass
class Continuation:
    """Tokens without the stop token that ended them; log p (nats) of each token drawn, the stop included.

    The probabilities are the model's own, at temperature 1 with no tail cut.
    """

    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    ended: bool = False


def next_token_probabilities(logits: Tensor, decoding: Decoding) -> Tensor:
    """logits [B, V] to probabilities [B, V]: softmax(logits / temperature), cut to top_k, then to top_p.

    At temperature 0 all the mass is on the arg max.
    """
    if decoding.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = logits / decoding.temperature
    if decoding.top_k is not None:
        least = logits.topk(min(decoding.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    probabilities = logits.softmax(-1)
    if decoding.top_p < 1:
        probabilities = _nucleus(probabilities, decoding.top_p)
    return probabilities


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of tokens whose mass reaches top_p; [B, V] to [B, V]."""
    ordered, order = probabilities.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.where(before < top_p, ordered, 0.0)
    kept = torch.zeros_like(probabilities).scatter(-1, order, kept)
    return kept / kept.sum(-1, keepdim=True)


@torch.no_grad()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: frozenset[int],
    decoding: Decoding,
    shared: bool = False,
) -> list[list[Continuation]]:
    """`count` continuations of each prompt, in order.

    With `shared`, what all prompts begin with is read once for all of them: for models of attention alone.
    """
    generator = torch.Generator(device=model.device).manual_seed(decoding.seed)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    results: list[list[Continuation]] = [[] for _ in prompts]
    root, skipped = _root(model, prompts, shared)
    # Padding stands between a learned part and a short prompt: a window would lose sight of that part sooner.
    unpadded = root.length > 0 and sliding_window(model.config) is not None
    for members in _batches(order, prompts, unpadded, max(1, BATCH // decoding.count)):
        front = _Front(model, [prompts[index][skipped:] for index in members], root)
        written = _write(front, stop_ids, decoding, generator)
        for place, index in enumerate(members):
            results[index] = written[place * decoding.count : (place + 1) * decoding.count]
    return results


def _root(model: Any, prompts: Sequence[Sequence[int]], shared: bool) -> tuple[Root, int]:
    """What stands before all prompts, and how many of their own tokens it holds."""
    learned = learned_root(model)
    if not shared or len(prompts) < 2 or sliding_window(model.config) is not None:
        return learned, 0
    first, last = min(prompts, key=list), max(prompts, key=list)
    # The last token of each prompt is left to it, since the first draw is made there.
    skipped = max(0, min(common_length(first, last), min(map(len, prompts)) - 1))
    return read_tokens(model, first[:skipped], learned), skipped


def _write(
    front: _Front, stop_ids: frozenset[int], decoding: Decoding, generator: torch.Generator
) -> list[Continuation]:
    """The continuations of the first prompt, then those of the second, and so on."""
    front.repeat(decoding.count)
    written = [Continuation() for _ in front.rows]
    for length in range(1, decoding.max_new_tokens + 1):
        probabilities = next_token_probabilities(front.logits, decoding)
        tokens = torch.multinomial(probabilities, 1, generator=generator)  # [R, 1]
        values = front.logits.log_softmax(-1).gather(1, tokens)[:, 0].tolist()
        for row, token, value in zip(front.rows, tokens[:, 0].tolist(), values, strict=True):
            _append(written[row], token, value, stop_ids)
        running = [place for place, row in enumerate(front.rows) if not written[row].ended]
        if not running or length == decoding.max_new_tokens:
            break
        front.advance(tokens, running)
    return written


def _append(written: Continuation, token: int, log_probability: float, stop_ids: frozenset[int]) -> None:
    if written.ended:
        return
    written.log_probabilities.append(log_probability)
    written.ended = token in stop_ids
    if not written.ended:
        written.tokens.append(token)


class _Front:
    """The rows that are being written: their cache, and the logits of their next tokens, `logits` [R, V].

    `rows` says which row stands at each of the R places: those that have ended are dropped on the way.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], root: Root) -> None:
        from transformers import DynamicCache

        self.model = model
        self.rows = list(range(len(prompts)))
        self.cache = DynamicCache(config=model.config)
        root.fill(self.cache, len(prompts))
        ids, mask = _pad_left(prompts, model.device)
        self.mask = torch.cat([mask.new_ones(len(prompts), root.length), mask], dim=1)
        self.positions = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, root.length :]
        self.logits = self._read(ids)

    def repeat(self, count: int) -> None:
        """Each row `count` times, one after the other; what was read is not read again."""
        if count > 1:
            self._take([place for place in range(len(self.rows)) for _ in range(count)])
            self.rows = list(range(len(self.rows)))

    def advance(self, tokens: Tensor, running: Sequence[int]) -> None:
        """Read the drawn tokens [R, 1] and drop the rows that are not at the `running` places."""
        if len(running) < len(self.rows):
            self._take(running)
            tokens = tokens[running]
        self.positions = self.positions[:, -1:] + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        self.logits = self._read(tokens)

    def _take(self, places: Sequence[int]) -> None:
        """The rows at these places, in their order, from now on."""
        chosen = torch.tensor(places, device=self.mask.device)
        self.cache.reorder_cache(chosen)
        self.rows = [self.rows[place] for place in places]
        self.mask, self.positions, self.logits = (
            each[chosen] for each in (self.mask, self.positions, self.logits)
        )

    def _read(self, ids: Tensor) -> Tensor:
        """ids [R, T] to the logits behind the last of them, [R, V] in float32 at least."""
        logits: Tensor = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits if logits.dtype == torch.float64 else logits.float()


def _batches(
    order: Sequence[int], prompts: Sequence[Sequence[int]], unpadded: bool, most: int
) -> Iterator[Sequence[int]]:
    """At most so many prompts each, taken in that order; all of one length if `unpadded`."""
    start = 0
    while start < len(order):
        longest = len(prompts[order[start]])
        members = order[start : start + most]
        if unpadded:
            members = [index for index in members if len(prompts[index]) == longest]
        yield members
        start += len(members)


def _pad_left(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, both [B, longest]."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
