"""The one training loop: every gradient method runs through it.

A step's gradient is that of the mean loss over all trained tokens of its batch, however the batch is cut
into micro-batches and trees: each part's summed loss is divided by the batch's token count. Text that is
replayed beside the rows counts among these tokens (see replay.py). Where a method has a loss of its own,
which is not of tokens, its rows' tokens are counted as they are read, and the text has the same share of the
loss as of the tokens.
Learning rate: linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from ..errors import StepError
from ..method import LoopSettings, Rows, Trainable
from ..types import Encoded, TrainReport

if TYPE_CHECKING:
    from ..model.base import Base

from .optimizer import make_optimizer

VALIDATION_ROWS = 256
Progress = Callable[..., None]


@dataclass(frozen=True)
class Plan:
    """Which rows each optimizer step takes, as indices; `epoch_ends` are step numbers, counted from 1."""

    batches: list[list[int]]
    epoch_ends: frozenset[int]


@dataclass(frozen=True, slots=True)
class Step:
    """One step's mean losses (nats a trained token) and its trained tokens.

    Those of what is replayed are told apart; they are 0 without replay.
    """

    loss: float
    tokens: int
    replay_loss: float = 0.0
    replay_tokens: int = 0


@dataclass
class Best:
    """The weights of the lowest validation loss so far."""

    step: int = 0
    loss: float = math.inf
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    since: int = 0

    def offer(self, step: int, loss: float, trainable: Trainable) -> None:
        if loss < self.loss:
            self.step, self.loss, self.since = step, loss, 0
            self._keep(trainable)
        else:
            self.since += 1

    def _keep(self, trainable: Trainable) -> None:
        """In the memory of those kept before, since all weights of a base may be trained."""
        kept = self.weights
        for name, p in trainable.parameters.items():
            kept[name] = kept[name].copy_(p.detach()) if name in kept else p.detach().clone()


def train(
    base: Base,
    trainable: Trainable,
    rows: Rows,
    validation: Rows,
    settings: LoopSettings,
    progress: Progress,
) -> TrainReport:
    """Train what is attached; afterwards it holds the weights of the best validation, the start's included.

    Raises StepError when the loss is not finite, or when no row is short enough to train on.
    """
    rows = _short_enough(rows, settings.max_length)
    plan = plan_batches(len(rows), settings)
    optimizer = make_optimizer(trainable, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, learning_rate_factor(len(plan.batches), settings.warmup_share)
    )
    done: list[Step] = []
    tokens, replayed = 0, 0
    best, started = Best(), time.perf_counter()
    if validation:
        best.offer(0, mean_loss(base, trainable, validation[:VALIDATION_ROWS]), trainable)
    with checkpointing(base.model, settings.gradient_checkpointing):
        for step, batch in enumerate(plan.batches, start=1):
            rate = schedule.get_last_lr()[0]
            done.append(train_step(base, trainable, [rows[index] for index in batch], settings, optimizer))
            tokens, replayed = tokens + done[-1].tokens, replayed + done[-1].replay_tokens
            schedule.step()
            seconds = time.perf_counter() - started
            progress(
                step=step,
                steps=len(plan.batches),
                loss=done[-1].loss,
                learning_rate=rate,
                trained_tokens=tokens,
                tokens_per_second=(tokens + replayed) / seconds,
                seconds_left=seconds / step * (len(plan.batches) - step),
                **(_replay_figures(done[-1], replayed) if trainable.replay else {}),
            )
            if step in plan.epoch_ends and validation:
                validation_loss = mean_loss(base, trainable, validation[:VALIDATION_ROWS])
                best.offer(step, validation_loss, trainable)
                progress(step=step, validation_loss=validation_loss)
                if settings.patience is not None and best.since >= settings.patience:
                    break
    _restore(trainable, best)
    return TrainReport(
        steps=len(done),
        trained_tokens=tokens,
        train_seconds=time.perf_counter() - started,
        best_step=best.step if validation else len(done),
        best_validation_loss=best.loss if validation else None,
        first_loss=done[0].loss,
        last_loss=done[-1].loss,
        replay_tokens=replayed,
    )


def _replay_figures(step: Step, tokens: int) -> dict[str, float]:
    return {"replay_loss": step.replay_loss, "replay_tokens": tokens}


def train_step(
    base: Base,
    trainable: Trainable,
    rows: Sequence[Encoded],
    settings: LoopSettings,
    optimizer: torch.optim.Optimizer,
) -> Step:
    """One optimizer step on one batch, with the text that is replayed beside it."""
    replayed, share = _replayed(trainable, rows)
    loss, tokens = accumulate(base, trainable, rows, settings.micro_batch_size, 1 - share)
    replay_loss, replay_tokens = accumulate_replay(base, replayed, share)
    total = loss + replay_loss
    if not math.isfinite(total):
        raise StepError(
            f"the loss is {total}: lower learning_rate (now {settings.learning_rate:g}) or raise warmup_share"
        )
    torch.nn.utils.clip_grad_norm_(list(trainable.parameters.values()), settings.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Step(loss, tokens, replay_loss, replay_tokens)


def accumulate(
    base: Base, trainable: Trainable, rows: Sequence[Encoded], micro_batch_size: int, weight: float = 1.0
) -> tuple[float, int]:
    """Add `weight` times the gradient of the batch's mean loss; returns that loss and its trained tokens."""
    count = sum(map(sum, (row.trained for row in rows)))
    total = 0.0
    for start in range(0, len(rows), micro_batch_size):
        for loss, _ in _losses(base, trainable, rows[start : start + micro_batch_size]):
            share = loss / count
            (share * weight).backward()  # type: ignore[no-untyped-call]
            total += float(share.detach())
    return total, count


def accumulate_replay(base: Base, rows: Sequence[Encoded], weight: float) -> tuple[float, int]:
    """The same of rows of text, by the base's own language head; nothing for no rows."""
    if not rows:
        return 0.0, 0
    count = sum(map(sum, (row.trained for row in rows)))
    total = 0.0
    for loss, _ in base.engine.losses(rows):
        share = loss / count
        (share * weight).backward()  # type: ignore[no-untyped-call]
        total += float(share.detach())
    return total, count


def _replayed(trainable: Trainable, rows: Sequence[Encoded]) -> tuple[list[Encoded], float]:
    """The text that goes with a batch, and its share of the batch's tokens."""
    if trainable.replay is None:
        return [], 0.0
    tokens = sum(len(row.tokens) if trainable.loss else sum(row.trained) for row in rows)
    replayed = trainable.replay.beside(tokens)
    count = sum(map(sum, (row.trained for row in replayed)))
    return replayed, count / (count + tokens)


@torch.no_grad()
def mean_loss(base: Base, trainable: Trainable, rows: Sequence[Encoded]) -> float:
    """Mean negative log-likelihood (nats) of a trained token."""
    parts = [(float(loss), count) for loss, count in _losses(base, trainable, rows)]
    return sum(loss for loss, _ in parts) / sum(count for _, count in parts)


def plan_batches(rows: int, settings: LoopSettings) -> Plan:
    """A new seeded order each epoch, whose last batch may be smaller; `epochs` may be a fraction."""
    per_epoch = math.ceil(rows / settings.batch_size)
    steps = max(1, round(settings.epochs * per_epoch))
    generator = torch.Generator().manual_seed(settings.seed)
    batches: list[list[int]] = []
    while len(batches) < steps:
        order = torch.randperm(rows, generator=generator).tolist()
        batches += [order[i : i + settings.batch_size] for i in range(0, rows, settings.batch_size)]
    return Plan(batches[:steps], frozenset({*range(per_epoch, steps + 1, per_epoch), steps}))


def learning_rate_factor(steps: int, warmup_share: float) -> Callable[[int], float]:
    """The factor of the learning rate for the step of that index, counted from 0."""
    warmup = math.ceil(steps * warmup_share)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor


def _losses(base: Base, trainable: Trainable, rows: Rows) -> Iterator[tuple[torch.Tensor, int]]:
    return trainable.loss(base, rows) if trainable.loss else base.engine.losses(rows)


def _short_enough(rows: Rows, max_length: int | None) -> Rows:
    kept = [row for row in rows if max_length is None or len(row.tokens) <= max_length]
    if not kept:
        raise StepError(f"no training row has at most max_length={max_length} tokens: raise max_length")
    return kept


def _restore(trainable: Trainable, best: Best) -> None:
    with torch.no_grad():
        for name, weights in best.weights.items():
            trainable.parameters[name].copy_(weights)


@contextmanager
def checkpointing(model: Any, on: bool) -> Iterator[None]:
    """Gradient checkpointing while the block runs: layers keep their inputs alone and are computed twice.

    transformers' own works in training mode only, in which layers would drop out.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    modules = model.modules() if on else ()
    layers = [module for module in modules if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
