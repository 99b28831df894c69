"""What one fit is lent: its folder, the task's log, its curves, and the training loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..method import Adapted, Choice, Context, LoopSettings, Method, Rows, Settings, Trainable
from ..model.root import learned_length
from ..types import Example, TrainReport
from . import together
from .checkpoint import Keeping, remembered
from .course import Observer, OwnSteps, take_steps
from .lent import Lent
from .loop import train
from .replay import ReplayText
from .shard import can_shard, sharded

if TYPE_CHECKING:
    from ..model.base import Base

REMEMBERED = "remembered.jsonl"
SECONDS_BETWEEN_LINES = 5.0
# The figures that a line tells, as far as a method gives them.
TOLD = {"loss": "loss {:.4f}", "tokens_per_second": "{:.0f} tokens/s", "seconds_left": "{:.0f} s left"}


class FitContext(Context):
    """Writes curves to `progress.jsonl` in the fit's folder, and now and then a line to standard output.

    `keeping` is where the fit keeps its checkpoints, if anywhere; `shard` asks for a base in shards, where
    several processes train all of it.
    """

    def __init__(
        self,
        folder: Path,
        replay: ReplayText | None = None,
        lent: Lent | None = None,
        keeping: Keeping | None = None,
        shard: bool = False,
    ) -> None:
        self.folder = folder
        self._replay = replay
        self._keeping = keeping
        self._shard = shard
        self._trainings = 0
        self.notes: dict[str, Any] = {}
        self.read_inputs: list[Example] = []
        self._lent = lent
        self._curves = folder / "progress.jsonl"
        self._curves.touch()
        self._last_line = 0.0

    def log(self, message: str) -> None:
        print(message, flush=True)  # noqa: T201  (the child's standard output is the task's log)

    def progress(self, **figures: float) -> None:
        with self._curves.open("a") as file:
            file.write(json.dumps(figures) + "\n")
        if "validation_loss" in figures:
            self.log(f"step {figures['step']}: validation loss {figures['validation_loss']:.4f}")
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            told = [words.format(figures[name]) for name, words in TOLD.items() if name in figures]
            self.log(f"step {figures['step']}/{figures['steps']}: {', '.join(told)}")

    def train(
        self, base: Base, trainable: Trainable, rows: Rows, validation: Rows, settings: LoopSettings
    ) -> TrainReport:
        if self._replay and trainable.replays:
            room = base.context_length - learned_length(base.model)
            trainable = replace(trainable, replay=self._replay.stream(settings.seed, room))
        with self._in_shards(base, trainable, rows) as (base, trainable):
            report = train(base, trainable, rows, validation, settings, self._observer())
        self._note_events(report)
        if together.processes() > 1:
            self.note(processes=together.processes())
        return report

    def take_steps(self, own: OwnSteps, settings: Settings) -> TrainReport:
        about = {"settings": settings.model_dump(mode="json"), "steps": own.count}
        report = take_steps(own, about, self._observer())
        self._note_events(report)
        return report

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        if self._keeping is None or together.rank():
            return make()
        return remembered(self._keeping.folder / REMEMBERED, key, make)

    def artifact(self, candidate: str) -> Path:
        return self._lending.artifacts[candidate]

    def candidate(self, candidate: str, base: Base) -> AbstractContextManager[Adapted]:
        return self._lending.candidate(candidate, base)

    def build(self, choice: Choice) -> Method:
        return self._lending.build(choice)

    def read(self, place: Path) -> list[Example]:
        found = self._lending.read(place)
        self.read_inputs += found.examples
        counts = {"read": found.read, "unusable": found.unusable, "repeated": found.repeated}
        self.note(**counts, leaked=found.leaked)
        self.log(f"{place}: {', '.join(f'{count:,} {what}' for what, count in self.notes.items())}")
        return found.examples

    def note(self, **facts: Any) -> None:
        self.notes |= facts

    def _observer(self) -> Observer:
        """Of the next training; a fit may have several, each with checkpoints of its own."""
        self._trainings += 1
        keeping = self._keeping.below(f"training-{self._trainings}") if self._keeping else None
        return Observer(self.progress, self.log, keeping)

    @contextmanager
    def _in_shards(self, base: Base, trainable: Trainable, rows: Rows) -> Iterator[tuple[Base, Trainable]]:
        """Where that was asked for and can be; else as they are."""
        if self._shard and can_shard(base, trainable):
            with sharded(base, trainable, rows) as parts:
                self.note(sharded=True)
                yield parts
            return
        if self._shard:
            self.log("not in shards: each process holds the whole base, since not all of it is trained")
        yield base, trainable

    def _note_events(self, report: TrainReport) -> None:
        """What did not go as it was asked to."""
        if report.halvings:
            self.note(micro_batch_size=report.micro_batch_size, halvings=report.halvings)
        if report.resumed_from_step is not None or report.repeated_tokens:
            self.note(resumed_from_step=report.resumed_from_step or 0, repeated_tokens=report.repeated_tokens)

    @property
    def _lending(self) -> Lent:
        assert self._lent is not None, "a fit of a run is lent what it needs"
        return self._lent
