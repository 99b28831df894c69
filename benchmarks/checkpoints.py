"""The share of a training that its checkpoints take, left to themselves: adapters, and all weights.

    STEPLADDER_TEST_DATA=... python benchmarks/checkpoints.py [--minutes 10] [--rounds 3]

SmolLM2-135M-Instruct on Alpaca rows, by the one training loop, for so many minutes each in turns. There is no
peer: the goal is that checkpoints, the last one included, take at most a twentieth of the time. Exits with 1
where they take more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from common import heading, show
from lora_vs_trl import alpaca
from stepladder.core.model.base import load_base
from stepladder.core.model.gradient import GradientMethod
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base
from stepladder.core.training.checkpoint import Checkpoints, Keeping, Snapshot
from stepladder.core.training.course import Observer
from stepladder.core.training.loop import Training
from stepladder.plugins.methods.full import Full
from stepladder.plugins.methods.lora import Lora

GOAL = 0.05
ROWS, HELD_OUT = 256, 8
LONG = {"epochs": 1000, "batch_size": 8, "micro_batch_size": 8}  # the clock ends it
METHODS = (Lora(Lora.Settings(**LONG)), Full(Full.Settings(**LONG)))


@dataclass(frozen=True)
class Measured:
    """Of one training: its steps and wall seconds, those of each checkpoint, and the bytes of the largest."""

    method: str
    steps: int
    seconds: float
    checkpoints: list[float]
    most_bytes: int

    @property
    def share(self) -> float:
        return sum(self.checkpoints) / self.seconds

    def cells(self) -> list[str]:
        return [
            self.method,
            str(self.steps),
            f"{self.seconds:.0f}",
            str(len(self.checkpoints)),
            f"{self.most_bytes / 1e6:,.0f}",
            f"{max(self.checkpoints):.2f}",
            f"{self.share:.1%}",
        ]


@contextmanager
def watched() -> Iterator[tuple[list[float], list[int]]]:
    """Wall seconds and bytes of each checkpoint that is written meanwhile."""
    write = Checkpoints.write
    seconds: list[float] = []
    sizes: list[int] = []

    def timed(self: Checkpoints, snapshot: Snapshot) -> None:
        started = time.perf_counter()
        write(self, snapshot)
        seconds.append(time.perf_counter() - started)
        sizes.append(sum(tensor.nbytes for group in snapshot.tensors.values() for tensor in group.values()))

    with mock.patch.object(Checkpoints, "write", timed):
        yield seconds, sizes


def measure(method: GradientMethod, minutes: float, folder: Path) -> Measured:
    base = load_base(resolve_base(DEFAULT_BASE, Path()))
    rows, held_out = alpaca(base, "train", ROWS), alpaca(base, "test", HELD_OUT)
    observer = Observer(lambda **_: None, keeping=Keeping(folder, "0" * 64))
    settings: Any = method.settings
    with watched() as (seconds, sizes):
        started = time.perf_counter()
        training = Training(base, method.attach(base.model), rows, held_out, settings, observer)
        training.begin()
        for batch in training.ahead():
            training.do(batch)
            if time.perf_counter() - started > minutes * 60:
                break
        steps = training.end().steps
        whole = time.perf_counter() - started
    return Measured(method.name, steps, whole, seconds, max(sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: list[Measured] = []
    for number in range(given.rounds):
        for method in METHODS:
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(method, given.minutes, Path(folder)))
            print(f"round {number + 1}: {', '.join(found[-1].cells())}", flush=True)
    heading("checkpoints", {"torch": torch.__version__})
    columns = ("method", "steps", "s", "checkpoints", "MB", "s of the longest", "share of the time")
    show(columns, [each.cells() for each in found])
    shares = {
        method.name: median(each.share for each in found if each.method == method.name) for method in METHODS
    }
    print(", ".join(f"{name}: {share:.1%} of the time" for name, share in shares.items()))
    sys.exit(any(share > GOAL for share in shares.values()))


main()
