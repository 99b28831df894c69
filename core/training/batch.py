"""One optimizer step on one batch, however that is cut into micro-batches and trees.

The gradient is that of the mean loss over all trained tokens of the batch: each part's summed loss is divided
by the batch's token count. Text that is replayed beside the rows counts among these tokens (see replay.py).
Where a method has a loss of its own, which is not of tokens, its rows' tokens are counted as they are read,
and the text has the same share of the loss as of the tokens. Of several processes each does its share of the
rows (see together.py), and all come to the same step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ..errors import StepError
from ..method import LoopSettings, Rows, Trainable
from ..types import Encoded
from . import together
from .memory import MicroBatch

if TYPE_CHECKING:
    from ..model.base import Base


@dataclass(frozen=True, slots=True)
class Step:
    """One step's mean losses (nats a trained token) and its trained tokens.

    Those of what is replayed are told apart; they are 0 without replay.
    """

    loss: float
    tokens: int
    replay_loss: float = 0.0
    replay_tokens: int = 0


def train_step(
    base: Base,
    trainable: Trainable,
    rows: Sequence[Encoded],
    settings: LoopSettings,
    optimizer: torch.optim.Optimizer,
    micro: MicroBatch,
) -> Step:
    """One optimizer step on one batch, with the text that is replayed beside it."""
    text, share = replayed(trainable, rows)

    def attempt(size: int) -> Step:
        optimizer.zero_grad(set_to_none=True)
        loss, tokens = accumulate(base, trainable, rows, size, 1 - share)
        return Step(loss, tokens, *accumulate_replay(base, text, share, micro.at_once))

    done = micro.fit(attempt, rows)
    loss, replay_loss = together.total(done.loss, done.replay_loss)
    done = replace(done, loss=loss, replay_loss=replay_loss)
    total = done.loss + done.replay_loss
    if not math.isfinite(total):
        raise StepError(
            f"the loss is {total}: lower learning_rate (now {settings.learning_rate:g}) or raise warmup_share"
        )
    together.sum_gradients(trainable.parameters.values())
    if trainable.each_step:
        trainable.each_step.before()
    torch.nn.utils.clip_grad_norm_(list(trainable.parameters.values()), settings.max_grad_norm)
    optimizer.step()
    if trainable.each_step:
        trainable.each_step.after()
    optimizer.zero_grad(set_to_none=True)
    return done


def accumulate(
    base: Base, trainable: Trainable, rows: Sequence[Encoded], micro_batch_size: int, weight: float = 1.0
) -> tuple[float, int]:
    """Add `weight` times the gradient of the batch's mean loss; returns that loss and its trained tokens.

    Of several processes each adds what its own rows give to gradient and loss; the tokens are all.
    """
    count = sum(map(sum, (row.trained for row in rows)))
    total = 0.0
    for part in _parts(rows, micro_batch_size):
        for loss, _ in _losses(base, trainable, part):
            share = loss / count
            (share * weight).backward()  # type: ignore[no-untyped-call]
            total += float(share.detach())
    return total, count


def accumulate_replay(
    base: Base, rows: Sequence[Encoded], weight: float, at_once: int | None = None
) -> tuple[float, int]:
    """The same of rows of text, by the base's own language head; nothing for no rows."""
    if not rows:
        return 0.0, 0
    count = sum(map(sum, (row.trained for row in rows)))
    total = 0.0
    for part in _parts(rows, at_once):
        for loss, _ in base.engine.losses(part):
            share = loss / count
            (share * weight).backward()  # type: ignore[no-untyped-call]
            total += float(share.detach())
    return total, count


def replayed(trainable: Trainable, rows: Sequence[Encoded]) -> tuple[list[Encoded], float]:
    """The text that goes with a batch, and its share of the batch's tokens."""
    if trainable.replay is None:
        return [], 0.0
    tokens = sum(len(row.tokens) if trainable.loss else sum(row.trained) for row in rows)
    text = trainable.replay.beside(tokens)
    count = sum(map(sum, (row.trained for row in text)))
    return text, count / (count + tokens)


@torch.no_grad()
def summed_loss(
    base: Base, trainable: Trainable, rows: Sequence[Encoded], at_once: int | None = None
) -> tuple[float, int]:
    """Negative log-likelihood (nats) of the trained tokens of this process's rows, and their number."""
    parts = [
        (float(loss), count)
        for part in _parts(rows, at_once)
        for loss, count in _losses(base, trainable, part)
    ]
    return sum(loss for loss, _ in parts), sum(count for _, count in parts)


def _parts(rows: Sequence[Encoded], size: int | None) -> Iterator[Sequence[Encoded]]:
    """So many rows of this process at a time, all for None; all have as many parts, some maybe empty ones."""
    own, most = together.share(rows), together.largest_share(len(rows))
    step = size or most
    return (own[start : start + step] for start in range(0, most, step))


def _losses(base: Base, trainable: Trainable, rows: Rows) -> Iterator[tuple[torch.Tensor, int]]:
    if trainable.loss:
        return trainable.loss(base, rows) if rows else iter(())
    return base.engine.losses(rows)
