"""Writing: next-token distributions and one loop that samples from them.

Prompts are padded on the left; the key-value cache and the masks of sliding windows are transformers' own.
What is learned and stands before every input (see root.py) is written into that cache first.
Nucleus sampling: Holtzman et al. 2020 (arXiv:1904.09751), §3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .engine import sliding_window
from .root import Root, learned_root

BATCH = 16


@dataclass(frozen=True)
class Decoding:
    """How the next token is drawn: temperature 0 is greedy; top_k and top_p cut the tail."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    max_new_tokens: int = 128
    seed: int = 0


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
    model: Any, prompts: Sequence[Sequence[int]], stop_ids: frozenset[int], decoding: Decoding
) -> list[list[int]]:
    """A continuation of each prompt, in order, without the stop token that ended it."""
    generator = torch.Generator(device=model.device).manual_seed(decoding.seed)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    results: list[list[int]] = [[] for _ in prompts]
    root = learned_root(model)
    # Padding stands between a learned part and a short prompt: a window would lose sight of that part sooner.
    unpadded = root.length > 0 and sliding_window(model.config) is not None
    for members in _batches(order, prompts, unpadded):
        written = _generate_batch(model, [prompts[i] for i in members], stop_ids, decoding, generator, root)
        for index, tokens in zip(members, written, strict=True):
            results[index] = tokens
    return results


def _generate_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: frozenset[int],
    decoding: Decoding,
    generator: torch.Generator,
    root: Root,
) -> list[list[int]]:
    from transformers import DynamicCache

    ids, mask = _pad_left(prompts, model.device)
    mask = torch.cat([mask.new_ones(len(prompts), root.length), mask], dim=1)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, root.length :]
    cache = DynamicCache(config=model.config)
    root.fill(cache, len(prompts))
    running = torch.ones(len(prompts), dtype=torch.bool, device=model.device)
    written: list[list[int]] = [[] for _ in prompts]
    for _ in range(decoding.max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        probabilities = next_token_probabilities(logits.float(), decoding)
        tokens = torch.multinomial(probabilities, 1, generator=generator)  # [B, 1]
        running &= ~torch.isin(tokens[:, 0], stops)
        for row in running.nonzero()[:, 0].tolist():
            written[row].append(int(tokens[row]))
        if not running.any():
            break
        ids, positions = tokens, positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
    return written


def _batches(
    order: Sequence[int], prompts: Sequence[Sequence[int]], unpadded: bool
) -> Iterator[Sequence[int]]:
    """At most BATCH prompts each, taken in that order; all of one length if `unpadded`."""
    start = 0
    while start < len(order):
        longest = len(prompts[order[start]])
        members = order[start : start + BATCH]
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
