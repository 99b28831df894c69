"""What stands before every sequence: a learned part, and tokens that are read once for all.

Attention looks back only, so whatever stands before can be computed once and kept as keys and values, be it
learned embeddings (Lester et al. 2021, arXiv:2104.08691), learned keys and values (Li and Liang 2021,
arXiv:2101.00190), or the beginning that all rows share. The cache given to the model is never written to:
layers may be computed twice, by gradient checkpointing, and many trees stand behind one root.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ATTRIBUTE = "stepladder_learned"


class FixedLayer(DynamicLayer):  # type: ignore[misc]  # transformers gives no types
    """One layer's keys and values, [1, heads, length, D]; what is read behind them is joined, not kept."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None) -> None:
        super().__init__()
        self.keys, self.values, self.is_initialized = keys, values, keys is not None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """keys and values [B, heads, T, D] to [B, heads, length + T, D]."""
        if self.keys is None or self.values is None:
            return keys, values
        return _joined(self.keys, keys), _joined(self.values, values)


def _joined(before: Tensor, behind: Tensor) -> Tensor:
    """[1, heads, L, D] before each of [B, heads, T, D]."""
    return torch.cat([before.expand(len(behind), -1, -1, -1), behind], 2)


class ReadLayer(FixedLayer):
    """Remembers what was joined last."""

    joined: tuple[Tensor, Tensor]

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.joined = super().update(keys, values)
        return self.joined


@dataclass(frozen=True)
class Root:
    """Keys and values of each layer, [1, heads, length, D]; sequences behind it count on from `length`."""

    layers: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[2] if self.layers else 0

    def arguments(self) -> dict[str, Any]:
        """What to call a model with, so that its tokens stand behind this root."""
        if not self.layers:
            return {"use_cache": False}
        cache = Cache(layers=[FixedLayer(*layer) for layer in self.layers])
        return {"past_key_values": cache, "use_cache": True}

    def fill(self, cache: Cache, rows: int) -> None:
        """Write the root before each of `rows` rows into an empty cache that grows."""
        for number, layer in enumerate(self.layers):
            cache.update(*(each.expand(rows, -1, -1, -1) for each in layer), number)


def read_tokens(model: Any, tokens: Sequence[int], before: Root = Root()) -> Root:
    """The root `before` with the tokens behind it."""
    if not tokens:
        return before
    return _read(model, before, input_ids=torch.tensor(tokens, device=model.device)[None])


def read_embeddings(model: Any, embeddings: Tensor) -> Root:
    """embeddings [L, H], in place of those of tokens; gradients flow back to them."""
    return _read(model, Root(), inputs_embeds=embeddings.to(model.dtype)[None])


def _read(model: Any, before: Root, **inputs: Tensor) -> Root:
    if before.layers:
        cache = Cache(layers=[ReadLayer(*layer) for layer in before.layers])
    else:
        cache = Cache(layer_class_to_replicate=ReadLayer)
    model.base_model(**inputs, past_key_values=cache, use_cache=True)
    return Root(tuple(layer.joined for layer in cache.layers))


@dataclass(frozen=True)
class Learned:
    """`length` learned positions; `root` computes their keys and values anew, for gradients to reach them."""

    length: int
    root: Callable[[], Root]


def stand_before(model: Any, learned: Learned) -> Callable[[], None]:
    """Let the learned part stand before all that the model reads from now on; returns what takes it away."""
    assert not hasattr(model, ATTRIBUTE), "one learned part at a time"
    setattr(model, ATTRIBUTE, learned)
    return partial(delattr, model, ATTRIBUTE)


def learned_root(model: Any) -> Root:
    """The learned part of the model, empty where it has none."""
    learned: Learned | None = getattr(model, ATTRIBUTE, None)
    return learned.root() if learned else Root()


def learned_length(model: Any) -> int:
    """How many positions of the context the learned part takes."""
    learned: Learned | None = getattr(model, ATTRIBUTE, None)
    return learned.length if learned else 0
