"""Features of rows as functions of weights that are held apart from the base.

Algorithms that hold several sets of weights at once (meta-learning, one set for each task) give the set with
each call. All features have length 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Base
from .headed import frozen_features, pooled
from .lowrank import new_updates, reading_layers, updated

Weights = dict[str, Tensor]
# As they are read by what makes features of them: a tensor [n, H], or n sequences of tokens.
Rows = Any
SHRINKAGE = 0.3


class Features(ABC):
    """`fixed` is saved beside the weights, which lie on `device`."""

    fixed: Weights
    device: torch.device

    @abstractmethod
    def begin(self, seed: int) -> Weights:
        """The weights with which features are the base's own."""

    @abstractmethod
    def read(self, sequences: Sequence[Sequence[int]], labels: Sequence[str] | None = None) -> Rows:
        """Rows of tokens, for the other methods. Those of training are read first, with their labels."""

    @abstractmethod
    def pick(self, rows: Rows, indices: Sequence[int]) -> Rows:
        """Some of the rows that were read."""

    @abstractmethod
    def parts(self, weights: Mapping[str, Tensor], rows: Rows) -> Iterator[tuple[list[int], Tensor]]:
        """Indices of rows with their features [n, F], one graph at a time."""

    @torch.no_grad()
    def of(self, weights: Mapping[str, Tensor], rows: Rows) -> Tensor:
        """Of all rows, in order: [n, F]."""
        found = list(self.parts(weights, rows))
        order = torch.tensor([index for indices, _ in found for index in indices])
        return torch.cat([features for _, features in found])[order.argsort()]


class NetworkFeatures(Features):
    """A small network on the frozen base's features, whitened; the base reads each row once."""

    device = torch.device("cpu")

    def __init__(self, base: Base, width: int) -> None:
        self.base = base
        self.width = width
        self.fixed: Weights = {}

    def begin(self, seed: int) -> Weights:
        size, generator = self.base.hidden_size, torch.Generator().manual_seed(seed)
        return {
            "inner.weight": torch.randn(self.width, size, generator=generator) / size**0.5,
            "inner.bias": torch.zeros(self.width),
            "outer.weight": torch.zeros(size, self.width),
        }

    def read(self, sequences: Sequence[Sequence[int]], labels: Sequence[str] | None = None) -> Rows:
        """Rows with labels decide how all are whitened."""
        features = frozen_features(self.base, sequences)
        if labels is not None:
            self.fixed = {"mean": features.mean(0), "whitening": whitening(features, labels)}
        return (features - self.fixed["mean"]) @ self.fixed["whitening"]

    def pick(self, rows: Rows, indices: Sequence[int]) -> Rows:
        return rows[list(indices)]

    def parts(self, weights: Mapping[str, Tensor], rows: Rows) -> Iterator[tuple[list[int], Tensor]]:
        yield list(range(len(rows))), network(weights, rows)


def whitening(features: Tensor, labels: Sequence[str]) -> Tensor:
    """The map [H, H] after which features differ within a label by as much in every direction.

    S^(-1/2) of the pooled covariance S within labels, as in Fisher's linear discriminant, shrunk towards a
    multiple of the identity, since there are seldom many more rows than features.
    """
    names = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    places = torch.tensor([names[label] for label in labels])
    sums = features.new_zeros(len(names), features.shape[1]).index_add_(0, places, features)
    within = features - (sums / places.bincount()[:, None])[places]
    scatter = within.T @ within / len(within)
    shrunk = scatter + SHRINKAGE * scatter.diagonal().mean() * torch.eye(len(scatter), dtype=scatter.dtype)
    lengths, directions = torch.linalg.eigh(shrunk)
    found: Tensor = directions @ torch.diag(lengths.rsqrt()) @ directions.T
    return found


def network(weights: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """x + W2 relu(W1 x + b), at length 1: [n, H] to [n, H]. W2 is zero at the start."""
    hidden = nn.functional.linear(rows, weights["inner.weight"], weights["inner.bias"]).relu()
    return nn.functional.normalize(rows + nn.functional.linear(hidden, weights["outer.weight"]), dim=-1)


class UpdatedFeatures(Features):
    """The base's own features, with low-rank updates of all its layers that read hidden states."""

    def __init__(self, base: Base, rank: int) -> None:
        self.base = base
        self.rank = rank
        self.fixed: Weights = {}
        self.device = base.device
        self.layers = reading_layers(base.model, base.hidden_size)
        if not self.layers:
            raise ModelError(f"{base.ref.name} has no linear layers (torch.nn.Linear) that could be updated")

    def begin(self, seed: int) -> Weights:
        return new_updates(self.layers, self.rank, seed)

    def read(self, sequences: Sequence[Sequence[int]], labels: Sequence[str] | None = None) -> Rows:
        return sequences

    def pick(self, rows: Rows, indices: Sequence[int]) -> Rows:
        return [rows[index] for index in indices]

    def parts(self, weights: Mapping[str, Tensor], rows: Rows) -> Iterator[tuple[list[int], Tensor]]:
        with updated(self.layers, weights):
            for indices, features in pooled(self.base, rows):
                yield indices, nn.functional.normalize(features.float(), dim=-1)
