"""The course of a training, whichever steps it takes: its curves, its checkpoints, and what is said of it.

A method that trains by steps of its own has the same course as those of the one loop: `take_steps`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from ..method import Trainable
from ..types import TrainReport
from .batch import Step
from .checkpoint import Checkpoints, Keeping, Resumed
from .memory import MicroBatch
from .state import State

Progress = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Observer:
    """Who follows a training: its curves, its log, and where its checkpoints are kept, if anywhere."""

    progress: Progress
    log: Callable[[str], None] = lambda _: None
    keeping: Keeping | None = None


@dataclass(eq=False)
class Course:
    """Of one training of so many steps; `about` says, as JSON, which: no other one is gone on with."""

    state: State
    observer: Observer
    steps: int
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._checkpoints = self._make_checkpoints()
        self._resumed: Resumed | None = None
        self._started = time.perf_counter()

    def go_on(self) -> bool:
        """Whether there was a checkpoint: then the state is that one's, and the curves are told again."""
        self._resumed = self._checkpoints.find() if self._checkpoints else None
        if self._resumed is None:
            return False
        self.state.restore(self._resumed.snapshot)
        for point in self._resumed.points:
            self.observer.progress(**point)
        self._say_where(self._resumed)
        return True

    def tell(self, **figures: float) -> None:
        if self._checkpoints:
            self._checkpoints.point(figures)
        self.observer.progress(**figures)

    def offer(self) -> None:
        """A step is done: time for a checkpoint, if one is due."""
        if self._checkpoints:
            self.state.standing.seconds = self.seconds()
            self._checkpoints.offer(self.state.standing.step, self.state.snapshot)

    def finish(self) -> None:
        """A finished training is not done again, whatever becomes of its fit."""
        standing = self.state.standing
        if not standing.finished:
            standing.seconds, standing.finished = self.seconds(), True
            if self._checkpoints:
                self._checkpoints.write(self.state.snapshot())

    def seconds(self) -> float:
        """Of the whole training, without what was trained again."""
        before = float(self._resumed.snapshot.values["seconds"]) if self._resumed else 0.0
        return before + time.perf_counter() - self._started

    def seconds_left(self) -> float:
        step = self.state.standing.step
        return self.seconds() / step * (self.steps - step)

    def report(self, judged: bool) -> TrainReport:
        """`judged` is whether there were validations, by the best of which the weights were taken."""
        standing, best, micro = self.state.standing, self.state.best, self.state.micro
        return TrainReport(
            steps=standing.step,
            trained_tokens=standing.tokens,
            train_seconds=standing.seconds,
            best_step=best.step if judged else standing.step,
            best_validation_loss=best.loss if judged else None,
            first_loss=standing.first_loss,
            last_loss=standing.last_loss,
            replay_tokens=standing.replayed,
            micro_batch_size=micro.size,
            halvings=micro.halvings,
            resumed_from_step=self._resumed.snapshot.step if self._resumed else None,
            repeated_tokens=self._checkpoints.repeated_tokens if self._checkpoints else 0,
        )

    def _make_checkpoints(self) -> Checkpoints | None:
        keeping, trainable = self.observer.keeping, self.state.trainable
        if keeping is None:
            return None
        shapes = {name: list(p.shape) for name, p in trainable.parameters.items()}
        return Checkpoints(
            keeping, {**self.about, "parameters": shapes}, trainable.count(), self.observer.log
        )

    def _say_where(self, found: Resumed) -> None:
        standing = self.state.standing
        where = f"step {standing.step} of {self.steps}"
        said = f"continuing at {where} from a checkpoint" if not standing.finished else f"finished at {where}"
        spared = f"{standing.tokens:,} tokens are not trained again"
        self.observer.log(f"{said} of {found.at:%H:%M:%S}: {spared}")


@dataclass(frozen=True)
class OwnSteps:
    """A training that is not that of the one loop: `count` steps, each on the next of `batches`.

    `take` is given the number of its step, from 1, and the batch; it changes the trainable's parameters by
    the optimizer, and returns the loss with how many tokens, or rows, that judged. A training that goes on
    passes over the batches that it has taken, so they must be drawn the same each time.
    """

    trainable: Trainable
    optimizer: torch.optim.Optimizer
    count: int
    batches: Iterator[Any]
    take: Callable[[int, Any], tuple[float, int]]


def take_steps(own: OwnSteps, about: Mapping[str, Any], observer: Observer) -> TrainReport:
    """Train by steps of a method's own; those that a killed fit has done are passed over."""
    state = State(own.trainable, own.optimizer, MicroBatch(1, observer.log))
    course = Course(state, observer, own.count, about)
    course.go_on()
    standing = state.standing
    for batch in islice(own.batches, standing.step, own.count):
        loss, tokens = own.take(standing.step + 1, batch)
        standing.add(Step(loss, tokens))
        course.tell(
            step=standing.step,
            steps=own.count,
            loss=loss,
            trained_tokens=standing.tokens,
            seconds_left=course.seconds_left(),
        )
        course.offer()
    course.finish()
    return replace(course.report(judged=False), micro_batch_size=None)
