"""The one training loop: every gradient method runs through it. What one step does is in batch.py.

Learning rate: linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).
A training that was killed goes on from its last checkpoint, to the same weights to the last bit on a CPU.
"""

from __future__ import annotations

import math
import time
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
from .checkpoint import Checkpoints, Keeping, Resumed
from .memory import MicroBatch
from .optimizer import make_optimizer
from .state import State

if TYPE_CHECKING:
    from ..model.base import Base

VALIDATION_ROWS = 256
Progress = Callable[..., None]


@dataclass(frozen=True)
class Plan:
    """Which rows each optimizer step takes, as indices; `epoch_ends` are step numbers, counted from 1."""

    batches: list[list[int]]
    epoch_ends: frozenset[int]


@dataclass(frozen=True, slots=True)
class Observer:
    """Who follows a training: its curves, its log, and where its checkpoints are kept, if anywhere."""

    progress: Progress
    log: Callable[[str], None] = lambda _: None
    keeping: Keeping | None = None


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
        self._checkpoints = self._make_checkpoints()
        self._resumed: Resumed | None = None
        self._started = time.perf_counter()

    def begin(self) -> None:
        """Go on from a checkpoint where there is one; else the start is the best so far."""
        together.make_equal(self.trainable.tensors().values())
        if self.trainable.each_step:
            self.trainable.each_step.begin(len(self.plan.batches))
        self._resumed = self._checkpoints.find() if self._checkpoints else None
        if self._resumed:
            self._go_on(self._resumed)
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
            self._tell(step=state.standing.step, validation_loss=loss)
        if self._checkpoints:
            state.standing.seconds = self._seconds()
            self._checkpoints.offer(state.standing.step, state.snapshot)

    def end(self) -> TrainReport:
        """The best weights in place; a finished training is not done again, whatever becomes of its fit."""
        standing, best, micro, found = self.state.standing, self.state.best, self.state.micro, self._resumed
        self.state.put_in_place(best.weights)
        if not standing.finished:
            standing.seconds, standing.finished = self._seconds(), True
            if self._checkpoints:
                self._checkpoints.write(self.state.snapshot())
        return TrainReport(
            steps=standing.step,
            trained_tokens=standing.tokens,
            train_seconds=standing.seconds,
            best_step=best.step if self.validation else standing.step,
            best_validation_loss=best.loss if self.validation else None,
            first_loss=standing.first_loss,
            last_loss=standing.last_loss,
            replay_tokens=standing.replayed,
            micro_batch_size=micro.size,
            halvings=micro.halvings,
            resumed_from_step=found.snapshot.step if found else None,
            repeated_tokens=self._checkpoints.repeated_tokens if self._checkpoints else 0,
        )

    def _make_checkpoints(self) -> Checkpoints | None:
        keeping = self.observer.keeping
        if keeping is None:
            return None
        shapes = {name: list(p.shape) for name, p in self.trainable.parameters.items()}
        settings = self.settings.model_dump(mode="json")
        about = {"settings": settings, "rows": len(self.rows), "parameters": shapes}
        return Checkpoints(keeping, about, self.trainable.count(), self.observer.log)

    def _go_on(self, found: Resumed) -> None:
        """The curves are told again, and of the text as much is passed over as was replayed."""
        self.state.restore(found.snapshot)
        for point in found.points:
            self.observer.progress(**point)
        standing, steps = self.state.standing, len(self.plan.batches)
        where = f"step {standing.step} of {steps}"
        said = f"continuing at {where} from a checkpoint" if not standing.finished else f"finished at {where}"
        spared = f"{standing.tokens:,} tokens are not trained again"
        self.observer.log(f"{said} of {found.at:%H:%M:%S}: {spared}")
        for batch in self.plan.batches[: standing.step]:
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
        standing, steps, seconds = self.state.standing, len(self.plan.batches), self._seconds()
        replay = {"replay_loss": done.replay_loss, "replay_tokens": standing.replayed}
        self._tell(
            step=standing.step,
            steps=steps,
            loss=done.loss,
            learning_rate=rate,
            trained_tokens=standing.tokens,
            tokens_per_second=(standing.tokens + standing.replayed) / seconds,
            seconds_left=seconds / standing.step * (steps - standing.step),
            **(replay if self.trainable.replay else {}),
        )

    def _tell(self, **figures: float) -> None:
        if self._checkpoints:
            self._checkpoints.point(figures)
        self.observer.progress(**figures)

    def _seconds(self) -> float:
        """Of the whole training, without what was trained again."""
        before = float(self._resumed.snapshot.values["seconds"]) if self._resumed else 0.0
        return before + time.perf_counter() - self._started


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
