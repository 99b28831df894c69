"""What one fit is lent: its folder, the task's log, its curves, and the training loop."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..method import Context, LoopSettings, Rows, Trainable
from ..model.root import learned_length
from ..types import TrainReport
from .loop import train
from .replay import ReplayText

if TYPE_CHECKING:
    from ..model.base import Base

SECONDS_BETWEEN_LINES = 5.0


class FitContext(Context):
    """Writes curves to `progress.jsonl` in the fit's folder, and now and then a line to standard output."""

    def __init__(self, folder: Path, replay: ReplayText | None = None) -> None:
        self.folder = folder
        self._replay = replay
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
            self.log(
                f"step {figures['step']}/{figures['steps']}: loss {figures['loss']:.4f}, "
                f"{figures['tokens_per_second']:.0f} tokens/s, {figures['seconds_left']:.0f} s left"
            )

    def train(
        self, base: Base, trainable: Trainable, rows: Rows, validation: Rows, settings: LoopSettings
    ) -> TrainReport:
        if self._replay and trainable.replays:
            room = base.context_length - learned_length(base.model)
            trainable = replace(trainable, replay=self._replay.stream(settings.seed, room))
        return train(base, trainable, rows, validation, settings, self.progress)
