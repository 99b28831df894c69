"""What an encoder says of sequences: hidden states, each token having read the whole of its own sequence.

Beginnings are not shared, since every token sees what follows it; sequences of about one length are padded
to a batch, and the padding is masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..types import Encoded
from .engine import Engine


class EncoderEngine(Engine):
    """Batches of at most `max_tokens` tokens, padding included."""

    def losses(self, rows: Sequence[Encoded]) -> Iterator[tuple[Tensor, int]]:
        raise _predicts_nothing(self.model)

    def log_probabilities(self, rows: Sequence[Encoded]) -> list[list[float]]:
        raise _predicts_nothing(self.model)

    @torch.no_grad()
    def hidden_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor]]:
        for batch in batches_of_like_length(sequences, self.max_tokens):
            output = self._call([sequences[index] for index in batch], output_hidden_states=True)
            states = torch.stack(output.hidden_states)  # [layers + 1, B, T, H]
            for place, index in enumerate(batch):
                yield index, states[:, place, : len(sequences[index])]

    def last_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Tensor]]]:
        for batch in batches_of_like_length(sequences, self.max_tokens):
            states = self._call([sequences[index] for index in batch]).last_hidden_state  # [B, T, H]
            yield [(index, states[place, : len(sequences[index])]) for place, index in enumerate(batch)]

    def _call(self, sequences: Sequence[Sequence[int]], **arguments: Any) -> Any:
        longest, device = max(map(len, sequences)), self.model.device
        padding = self.model.config.get_text_config().pad_token_id or 0
        ids = [[*sequence, *[padding] * (longest - len(sequence))] for sequence in sequences]
        mask = [[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences]
        return self.model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            **arguments,
        )


def batches_of_like_length(sequences: Sequence[Sequence[int]], max_tokens: int) -> Iterator[list[int]]:
    """Indices of the sequences, the shortest first, in batches of at most `max_tokens` padded tokens."""
    batch: list[int] = []
    for index in sorted(range(len(sequences)), key=lambda index: len(sequences[index])):
        if batch and (len(batch) + 1) * len(sequences[index]) > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _predicts_nothing(model: Any) -> ModelError:
    return ModelError(f"{type(model).__name__} is an encoder, which predicts no tokens: give a causal base")
