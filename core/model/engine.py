"""What a model says of encoded sequences: losses to train on, log-probabilities, hidden states.

`TreeEngine` packs the sequences into trees (see tree.py). `PlainEngine` pads them and calls the model's
own forward; it serves models whose logits are more than a linear head on the trunk's last hidden states
(a soft cap, a logit scale), which `agrees` finds out by comparing both once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..types import Encoded
from .attention import tree_arguments, use_tree_attention
from .head import cross_entropy_sum, log_probabilities
from .root import Root, learned_length, learned_root, read_tokens
from .tree import Tree, build_tree, common_length, group_into_trees

PLAIN_BATCH = 8


@dataclass(frozen=True)
class Targets:
    """N pairs of a predicting position and the token that follows it, and whose sequence that is; all [N]."""

    positions: Tensor
    tokens: Tensor
    sequences: Tensor


class Engine(ABC):
    """Losses, log-probabilities and hidden states of sequences, however the model is called.

    Where something learned stands before every input (see root.py), all of them are behind it.
    """

    def __init__(self, model: Any, max_tokens: int) -> None:
        self.model = model
        self.max_tokens = max_tokens

    @abstractmethod
    def losses(self, rows: Sequence[Encoded]) -> Iterator[tuple[Tensor, int]]:
        """Summed negative log-likelihood (nats) of trained tokens and their number, one graph at a time."""

    @abstractmethod
    def log_probabilities(self, rows: Sequence[Encoded]) -> list[list[float]]:
        """log p of each trained token of each row, in order."""

    @abstractmethod
    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor]]:
        """For each sequence its index and the hidden states of all layers, [layers + 1, length, H]."""

    def last_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Tensor]]]:
        """Indices of sequences with their last hidden states [length, H], one graph at a time."""
        root = learned_root(self.model)
        for index, sequence in enumerate(sequences):
            ids = torch.tensor(sequence, device=self.model.device)[None]
            yield [(index, self.model.base_model(input_ids=ids, **root.arguments()).last_hidden_state[0])]

    @torch.no_grad()
    def probe_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The model's own logits of each sequence, one after the other, [tokens, V] in float32."""
        root = learned_root(self.model)
        ids = [torch.tensor(sequence, device=self.model.device)[None] for sequence in sequences]
        return torch.cat([self.model(input_ids=row, **root.arguments()).logits[0].float() for row in ids])


class TreeEngine(Engine):
    """Common beginnings computed once, no padding, the vocabulary only where it is needed."""

    def losses(self, rows: Sequence[Encoded]) -> Iterator[tuple[Tensor, int]]:
        for _, tree, targets in self._trees(rows):
            # Computed for each tree, since a tree's graph is gone once its loss has gone backward.
            (hidden,) = tree_states(self.model, tree, learned_root(self.model))
            head = self.model.get_output_embeddings()
            yield cross_entropy_sum(hidden[targets.positions], head, targets.tokens), len(targets.tokens)

    @torch.no_grad()
    def log_probabilities(self, rows: Sequence[Encoded]) -> list[list[float]]:
        results: list[list[float]] = [[] for _ in rows]
        root = self._read_root(rows)
        shared = root.length - learned_length(self.model)
        for group, tree, targets in self._trees(rows, shared):
            (hidden,) = tree_states(self.model, tree, root)
            head = self.model.get_output_embeddings()
            values = log_probabilities(hidden, head, targets.positions, targets.tokens)
            for sequence, value in zip(targets.sequences.tolist(), values.tolist(), strict=True):
                results[group[sequence]].append(value)
        return results

    @torch.no_grad()
    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor]]:
        root = learned_root(self.model)
        for group in group_into_trees(sequences, self.max_tokens):
            tree = build_tree([sequences[index] for index in group])
            states = torch.stack(tree_states(self.model, tree, root, all_layers=True))
            for index, path in zip(group, tree.paths, strict=True):
                yield index, states[:, path]

    def last_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Tensor]]]:
        for group in group_into_trees(sequences, self.max_tokens):
            tree = build_tree([sequences[index] for index in group])
            (hidden,) = tree_states(self.model, tree, learned_root(self.model))
            yield [(index, hidden[path]) for index, path in zip(group, tree.paths, strict=True)]

    def _trees(self, rows: Sequence[Encoded], skip: int = 0) -> Iterator[tuple[list[int], Tree, Targets]]:
        """Groups of rows with their trees, which begin behind `skip` tokens that all rows share."""
        rest = [Encoded(row.tokens[skip:], row.trained[skip:]) for row in rows]
        # The last trained token is only predicted, never read.
        read = [row.tokens[: last_trained(row)] for row in rest]
        for group in group_into_trees(read, self.max_tokens):
            tree = build_tree([read[index] for index in group])
            yield group, tree, _tree_targets(tree, [rest[index] for index in group], self.model.device)

    def _read_root(self, rows: Sequence[Encoded]) -> Root:
        """What all rows share before anything is predicted, read once for all trees.

        Its last token stays in the trees, since the first prediction is made there.
        """
        learned = learned_root(self.model)
        if not rows:
            return learned
        first, last = min(row.tokens for row in rows), max(row.tokens for row in rows)
        predicted = min(row.trained.index(True) for row in rows)
        shared = min(common_length(first, last), predicted)
        return read_tokens(self.model, first[: max(0, shared - 1)], learned)


class PlainEngine(Engine):
    """Padded rows through the model's own forward."""

    def losses(self, rows: Sequence[Encoded]) -> Iterator[tuple[Tensor, int]]:
        for batch in _batches(rows):
            picked, targets = self._picked(batch, learned_root(self.model))
            yield -picked.sum(), len(targets.tokens)

    @torch.no_grad()
    def log_probabilities(self, rows: Sequence[Encoded]) -> list[list[float]]:
        results: list[list[float]] = []
        root = learned_root(self.model)
        for batch in _batches(rows):
            picked, targets = self._picked(batch, root)
            values: list[list[float]] = [[] for _ in batch]
            for sequence, value in zip(targets.sequences.tolist(), picked.tolist(), strict=True):
                values[sequence].append(value)
            results += values
        return results

    @torch.no_grad()
    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor]]:
        root = learned_root(self.model)
        for index, sequence in enumerate(sequences):
            ids = torch.tensor(sequence, device=self.model.device)[None]
            output = self.model.base_model(input_ids=ids, output_hidden_states=True, **root.arguments())
            yield index, torch.stack(output.hidden_states)[:, 0]

    def _picked(self, batch: Sequence[Encoded], root: Root) -> tuple[Tensor, Targets]:
        """log p of the trained tokens of one padded batch, [N]."""
        length = max(len(row.tokens) for row in batch)
        ids = torch.tensor([row.tokens + [0] * (length - len(row.tokens)) for row in batch])
        device = self.model.device
        # No mask: padding stands on the right, where no token of a row looks.
        logits = self.model(input_ids=ids.to(device), **root.arguments()).logits
        targets = _padded_targets(batch, length, device)
        chosen = logits.flatten(0, 1)[targets.positions]
        chosen = chosen if chosen.dtype == torch.float64 else chosen.float()
        return chosen.log_softmax(-1).gather(1, targets.tokens[:, None])[:, 0], targets


def make_engine(model: Any, max_tokens: int) -> Engine:
    """The tree where it computes what the model computes, else the model's own forward."""
    engine = TreeEngine(model, max_tokens)
    if use_tree_attention(model):
        if agrees(engine):
            return engine
        model.set_attn_implementation("sdpa")
    return engine if agrees(engine) else PlainEngine(model, max_tokens)


def agrees(engine: TreeEngine) -> bool:
    """Whether tree and model give the same log-probabilities on two unequal rows with a common beginning."""
    size = engine.model.config.get_text_config().vocab_size
    window = sliding_window(engine.model.config) or 0
    generator = torch.Generator().manual_seed(0)
    length = 12 + (window if window <= 512 else 0)
    start = torch.randint(size, (length,), generator=generator).tolist()
    ends = [torch.randint(size, (n,), generator=generator).tolist() for n in (5, 9)]
    rows = [Encoded(start + end, [False] * 6 + [True] * (len(start + end) - 6)) for end in ends]
    try:
        shared = _flat(engine.log_probabilities(rows))
    except (TypeError, ValueError, LookupError, RuntimeError, AttributeError):
        return False
    plain = _flat(PlainEngine(engine.model, engine.max_tokens).log_probabilities(rows))
    tolerance = {torch.float64: 1e-5, torch.float32: 1e-3}.get(engine.model.dtype, 0.25)
    return bool((shared - plain).abs().max() <= tolerance)


def _flat(values: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(list(chain.from_iterable(values)), dtype=torch.float64)


def tree_states(model: Any, tree: Tree, root: Root, all_layers: bool = False) -> tuple[Tensor, ...]:
    """Hidden states of the packed tokens, [T, H] for each layer asked for (the last one by default)."""
    output = model.base_model(
        input_ids=tree.tokens[None].to(model.device),
        position_ids=tree.positions[None].to(model.device) + root.length,
        attention_mask=_masks(model, tree, root.length),
        output_hidden_states=all_layers,
        **root.arguments(),
        **tree_arguments(model, tree, root.length),
    )
    states = output.hidden_states if all_layers else (output.last_hidden_state,)
    return tuple(state[0] for state in states)


def sliding_window(config: Any) -> int | None:
    """How far back some layer of the model sees, itself included; None without such a layer."""
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        return None
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None and "sliding_attention" not in layer_types:
        return None
    return window


def _masks(model: Any, tree: Tree, root: int) -> Tensor | dict[str, Tensor]:
    """One mask, or one for each type of layer where the model mixes types."""
    config = model.config.get_text_config()
    window = sliding_window(config)
    layer_types = getattr(config, "layer_types", None)
    full = tree.mask(model.dtype, model.device, root=root)
    if window is None:
        return full
    windowed = tree.mask(model.dtype, model.device, window, root)
    return windowed if layer_types is None else {"full_attention": full, "sliding_attention": windowed}


def last_trained(row: Encoded) -> int:
    """The index of the last trained token."""
    return max(index for index, trained in enumerate(row.trained) if trained)


def _tree_targets(tree: Tree, rows: Sequence[Encoded], device: torch.device) -> Targets:
    found = [
        (path[index - 1], row.tokens[index], number)
        for number, (row, path) in enumerate(zip(rows, tree.paths, strict=True))
        for index in range(1, len(path) + 1)
        if row.trained[index]
    ]
    return _targets(found, device)


def _padded_targets(batch: Sequence[Encoded], length: int, device: torch.device) -> Targets:
    found = [
        (number * length + index - 1, row.tokens[index], number)
        for number, row in enumerate(batch)
        for index in range(1, len(row.tokens))
        if row.trained[index]
    ]
    return _targets(found, device)


def _targets(found: Sequence[tuple[int, int, int]], device: torch.device) -> Targets:
    columns = torch.tensor(found, dtype=torch.long, device=device).reshape(-1, 3)
    return Targets(columns[:, 0], columns[:, 1], columns[:, 2])


def _batches(rows: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    for start in range(0, len(rows), PLAIN_BATCH):
        yield rows[start : start + PLAIN_BATCH]
