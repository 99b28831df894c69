"""The one training loop: every gradient method runs through it. What one step does is in batch.py.

Learning rate: linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).
A training that was killed goes on from its last checkpoint, to the same weights to the last bit on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from ..errors import StepError
from ..method import LoopSettings, Rows, Trainable
from ..types import TrainReport
from . import together
from .batch import Step, replayed, summed_loss, train_step
from .course import Course, Observer
from .memory import MicroBatch
from .optimizer import make_optimizer
from .state import State

if TYPE_CHECKING:
    from ..model.base import Base

VALIDATION_ROWS = 256


@dataclass(frozen=True)
class Plan:
    """Which rows each optimizer step takes, as indices; `epoch_ends` are step numbers, counted from 1."""

    batches: list[list[int]]
    epoch_ends: frozenset[int]


def train(
    base: Base, trainable: Trainable, rows: Rows, validation: Rows, settings: LoopSettings, observer: Observer
) -> TrainReport:
    """Train what is attached; afterwards it holds the weights of the best validation, the start's included.

    Raises StepError when the loss is not finite, or when no row is short enough to train on, and OutOfMemory
    when one row needs more memory than there is.
    """
    rows = _short_enough(rows, settings.max_length)
    training = Training(base, trainable, rows, validation[:VALIDATION_ROWS], settings, observer)
    training.begin()
    with checkpointing(base.model, settings.gradient_checkpointing):
        for batch in training.ahead():
            training.do(batch)
    return training.end()


@dataclass(eq=False)
class Training:
    """One training under way, step by step."""

    base: Base
    trainable: Trainable
    rows: Rows
    validation: Rows
    settings: LoopSettings
    observer: Observer

    def __post_init__(self) -> None:
        self.plan = plan_batches(len(self.rows), self.settings)
        optimizer = make_optimizer(self.trainable, self.settings)
        in_shards = together.in_shards(self.trainable.parameters.values())
        micro = MicroBatch(self.settings.micro_batch_size, self.observer.log, in_shards=in_shards)
        self.state = State(self.trainable, optimizer, micro)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self._factor = learning_rate_factor(len(self.plan.batches), self.settings.warmup_share)
        about = {"settings": self.settings.model_dump(mode="json"), "rows": len(self.rows)}
        self.course = Course(self.state, self.observer, len(self.plan.batches), about)

    def begin(self) -> None:
        """Go on from a checkpoint where there is one; else the start is the best so far."""
        together.make_equal(self.trainable.tensors().values())
        if self.trainable.each_step:
            self.trainable.each_step.begin(len(self.plan.batches))
        if self.course.go_on():
            self._pass_over_replayed()
        elif self.validation:
            self.state.best.offer(0, self._validation_loss(), self.trainable)

    def ahead(self) -> Iterator[list[int]]:
        """The batches that are yet to be trained on."""
        best, patience = self.state.best, self.settings.patience
        for batch in self.plan.batches[self.state.standing.step :]:
            if self.state.standing.finished or (patience is not None and best.since >= patience):
                return
            yield batch

    def do(self, batch: list[int]) -> None:
        """One step, the validation that is due after it, and the checkpoint."""
        state, rate = self.state, self._set_learning_rate()
        rows = [self.rows[index] for index in batch]
        done = train_step(self.base, self.trainable, rows, self.settings, state.optimizer, state.micro)
        state.standing.add(done)
        self._tell_step(done, rate)
        if state.standing.step in self.plan.epoch_ends and self.validation:
            loss = self._validation_loss()
            state.best.offer(state.standing.step, loss, self.trainable)
            self.course.tell(step=state.standing.step, validation_loss=loss)
        self.course.offer()

    def end(self) -> TrainReport:
        """The best weights in place."""
        self.state.put_in_place(self.state.best.weights)
        self.course.finish()
        return self.course.report(judged=bool(self.validation))

    def _pass_over_replayed(self) -> None:
        """Of the text, as much as was replayed before."""
        for batch in self.plan.batches[: self.state.standing.step]:
            replayed(self.trainable, [self.rows[index] for index in batch])

    def _validation_loss(self) -> float:
        micro, rows = self.state.micro, self.validation
        own = micro.fit(lambda _: summed_loss(self.base, self.trainable, rows, micro.at_once), rows)
        loss, tokens = together.total(*own)
        return loss / tokens

    def _set_learning_rate(self) -> float:
        """For the step that comes; returns that of the first group."""
        groups, factor = self.state.optimizer.param_groups, self._factor(self.state.standing.step)
        for group in groups:
            group["lr"] = group["initial_lr"] * factor
        return float(groups[0]["lr"])

    def _tell_step(self, done: Step, rate: float) -> None:
        standing, seconds = self.state.standing, self.course.seconds()
        replay = {"replay_loss": done.replay_loss, "replay_tokens": standing.replayed}
        self.course.tell(
            step=standing.step,
            steps=self.course.steps,
            loss=done.loss,
            learning_rate=rate,
            trained_tokens=standing.tokens,
            tokens_per_second=(standing.tokens + standing.replayed) / seconds,
            seconds_left=self.course.seconds_left(),
            **(replay if self.trainable.replay else {}),
        )


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


def _short_enough(rows: Rows, max_length: int | None) -> Rows:
    kept = [row for row in rows if max_length is None or len(row.tokens) <= max_length]
    if not kept:
        raise StepError(f"no training row has at most max_length={max_length} tokens: raise max_length")
    return kept


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
