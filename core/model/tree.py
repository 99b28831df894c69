"""Packed trees: sequences with common beginnings, each token computed once.

Rows of a task begin alike (instruction, labels, demonstrations), and the answers of a question begin with
that question. Sorted, neighbours share the longest beginnings; written one after the other without what
the one before has already written, they are a compressed trie in depth-first order. There, token j is an
ancestor of token i exactly when j <= i <= last(j), where last(j) ends the subtree of j, so the attention
mask is two comparisons, and every activation equals the one of the sequence alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """T packed tokens of S sequences.

    tokens, positions, last: [T]. `positions` counts from each sequence's own start; `last` is the packed
    index of the last token below. `paths[s]` are the packed indices of sequence s, in order.
    """

    tokens: Tensor
    positions: Tensor
    last: Tensor
    paths: tuple[list[int], ...]

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def mask(
        self, dtype: torch.dtype, device: torch.device, window: int | None = None, root: int = 0
    ) -> Tensor:
        """Additive mask [1, 1, T, root + T]: 0 where a token sees, the least number of `dtype` elsewhere.

        It is a float mask because eager attention adds it. `window`: a token sees only that many
        positions back, itself included. `root`: so many keys stand before the tree.
        """
        index = torch.arange(len(self), device=device)
        last, positions = self.last.to(device), self.positions.to(device)
        seen = (index[None, :] <= index[:, None]) & (index[:, None] <= last[None, :])
        seen = torch.nn.functional.pad(seen, (root, 0), value=True)
        if window is not None:
            of_keys = torch.cat([torch.arange(-root, 0, device=device), positions])
            seen &= positions[:, None] - of_keys[None, :] < window
        hidden = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=device)
        return torch.where(seen, torch.zeros((), dtype=dtype, device=device), hidden)[None, None]


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many first tokens two sequences share."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def build_tree(sequences: Sequence[Sequence[int]]) -> Tree:
    """Pack the sequences (each of at least one token) into one tree."""
    tokens: list[int] = []
    positions: list[int] = []
    last: list[int] = []
    paths: list[list[int]] = [[] for _ in sequences]
    previous: Sequence[int] = ()
    path: list[int] = []
    for index in _sorted(sequences):
        sequence = sequences[index]
        shared = common_length(previous, sequence)
        _close(last, path[shared:], len(tokens) - 1)
        path = path[:shared] + list(range(len(tokens), len(tokens) + len(sequence) - shared))
        tokens.extend(sequence[shared:])
        positions.extend(range(shared, len(sequence)))
        last.extend([-1] * (len(sequence) - shared))
        paths[index] = path
        previous = sequence
    _close(last, path, len(tokens) - 1)
    return Tree(torch.tensor(tokens), torch.tensor(positions), torch.tensor(last), tuple(paths))


def _sorted(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Indices of the sequences in lexicographic order, so that neighbours share the longest beginnings."""
    return sorted(range(len(sequences)), key=lambda index: list(sequences[index]))


def _close(last: list[int], nodes: Sequence[int], end: int) -> None:
    for node in nodes:
        last[node] = end


def group_into_trees(sequences: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
    """Indices of the sequences, grouped so that each group's tree has at most `max_tokens` tokens.

    Attention is quadratic in a tree's tokens, hence the cap. A sequence longer than the cap is alone.
    """
    groups: list[list[int]] = []
    size = 0
    previous: Sequence[int] = ()
    for index in _sorted(sequences):
        sequence = sequences[index]
        added = len(sequence) - common_length(previous, sequence)
        if groups and size + added <= max_tokens:
            groups[-1].append(index)
            size += added
        else:
            groups.append([index])
            size = len(sequence)
        previous = sequence
    return groups
