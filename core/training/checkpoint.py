"""Checkpoints of a training, from which a killed fit goes on as if nothing had happened.

    <folder>/step-24/      state.json, *.safetensors, manifest.json: written under another name, then renamed
    <folder>/points.jsonl  each point of the curves, as it is told
    <folder>/resumed.jsonl where the training went on, and how many tokens it had to train again

Of those that are whole the newest counts; one that is damaged, or of another training, is passed over.
Several processes that train together read the same one, and the first of them alone writes. Nothing in it
tells how many they were.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..manifest import flush, is_whole, renamed, write_manifest
from . import together

Log = Callable[[str], None]
Point = Mapping[str, float]
STATE, POINTS, RESUMED = "state.json", "points.jsonl", "resumed.jsonl"
NAME, NEW = "step-", ".new"
NONE = -1  # in place of a step

# Left to itself a training gives this share of its time to checkpoints, and takes none oftener than that.
SHARE = 0.05
LEAST_SECONDS = 10.0
# What a first one will cost, before one was written: weight, best weight and two moments, each in float32.
BYTES_A_WEIGHT = 16
BYTES_A_SECOND = 100e6


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a fit keeps its checkpoints, and how many of each training.

    `fingerprint` is that of the fit: data, base, settings and code. `every` counts optimizer steps; None is
    as often as costs allow.
    """

    folder: Path
    fingerprint: str
    every: int | None = None
    keep: int = 2

    def below(self, name: str) -> Keeping:
        return replace(self, folder=self.folder / name)

    def points(self) -> list[Point]:
        """Those of the curves of all trainings below, one after the other."""
        return [point for path in sorted(self.folder.glob(f"*/{POINTS}")) for point in read_lines(path)]

    def drop(self) -> None:
        """Remove all checkpoints below; the curves stay."""
        for folder in self.folder.glob(f"*/{NAME}*"):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a training goes on from: plain values, and tensors by group and name."""

    step: int
    values: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was found again: `at` is when it was written, `points` are those of the curves until then."""

    snapshot: Snapshot
    at: datetime
    points: list[Point]


@dataclass
class Pace:
    """When the next checkpoint is due; `seconds` is what one costs."""

    every: int | None
    seconds: float
    step: int = 0
    since: float = field(default_factory=time.monotonic)

    def is_due(self, step: int) -> bool:
        if self.every:
            return step - self.step >= self.every
        return time.monotonic() - self.since >= max(LEAST_SECONDS, self.seconds / SHARE)

    def written(self, step: int, seconds: float) -> None:
        self.step, self.since, self.seconds = step, time.monotonic(), seconds


class Checkpoints:
    """Those of one training. `about` says, as JSON, which: it must be the same for one to be read.

    `repeated_tokens` are those that were trained behind the last checkpoint when a process was killed, so
    that they are trained again; of all times that this has happened.
    """

    def __init__(self, keeping: Keeping, about: Mapping[str, Any], weights: int, log: Log) -> None:
        self._keeping = keeping
        self._folder = keeping.folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._about = {"fingerprint": keeping.fingerprint, **about}
        self._pace = Pace(keeping.every, BYTES_A_WEIGHT * weights / BYTES_A_SECOND)
        self._log = log
        self.repeated_tokens = 0

    def find(self) -> Resumed | None:
        """The newest that is whole; others that are newer are told of and removed."""
        if together.rank():
            step = together.of_first(NONE)
            return self._read(self._folder / f"{NAME}{step}") if step != NONE else None
        found = self._newest()
        together.of_first(found.snapshot.step if found else NONE)
        return found

    def _newest(self) -> Resumed | None:
        for left in self._folder.glob(f"*{NEW}"):
            shutil.rmtree(left, ignore_errors=True)
        for folder in reversed(self._all()):
            fault = self._fault(folder)
            if fault is None:
                found = self._read(folder)
                return replace(found, points=self._go_on_from(found.snapshot))
            self._log(f"the checkpoint {folder.name} is passed over: {fault}")
            shutil.rmtree(folder, ignore_errors=True)
        self._go_on_from(Snapshot(0, {"tokens": 0}, {}))
        return None

    def point(self, figures: Point) -> None:
        if together.rank():
            return
        with (self._folder / POINTS).open("a") as file:
            file.write(json.dumps(figures) + "\n")

    def offer(self, step: int, take: Callable[[], Snapshot]) -> None:
        """Write what `take` gives, if a checkpoint is due: by the first process's clock, in all of them."""
        if together.of_first(self._pace.is_due(step)):
            started = time.monotonic()
            self.write(take())
            self._pace.written(step, time.monotonic() - started)

    def write(self, snapshot: Snapshot) -> None:
        """One that cannot be written is told of: a full disk is no reason to end the training."""
        if together.rank():
            return
        new = self._folder / f"{NAME}{snapshot.step}{NEW}"
        try:
            self._write(snapshot, new)
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or error
            self._log(f"no checkpoint of step {snapshot.step}: {why}; the training goes on")
            shutil.rmtree(new, ignore_errors=True)

    def _write(self, snapshot: Snapshot, new: Path) -> None:
        new.mkdir()
        for group, tensors in snapshot.tensors.items():
            dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            if dense:
                save_file(dense, new / f"{group}.safetensors")
        at = datetime.now().astimezone().isoformat()
        state = {"about": self._about, "at": at, "step": snapshot.step, "values": snapshot.values}
        (new / STATE).write_text(json.dumps(state))
        if (self._folder / POINTS).exists():
            flush(self._folder / POINTS)
        write_manifest(new)
        final = self._folder / f"{NAME}{snapshot.step}"
        shutil.rmtree(final, ignore_errors=True)
        renamed(new, final)
        for old in self._all()[: -self._keeping.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _all(self) -> list[Path]:
        """Oldest first."""
        found = [path for path in self._folder.glob(f"{NAME}*") if path.suffix != NEW]
        return sorted(found, key=lambda path: int(path.name.removeprefix(NAME)))

    def _fault(self, folder: Path) -> str | None:
        """Why the checkpoint is of no use here."""
        if not is_whole(folder):
            return "it is not what was written"
        about = json.loads((folder / STATE).read_text())["about"]
        other = [key for key, value in self._about.items() if about.get(key) != value]
        return f"it is of another training, by its {other[0]}" if other else None

    def _read(self, folder: Path) -> Resumed:
        """Without the points of the curves."""
        state = json.loads((folder / STATE).read_text())
        tensors = {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
        snapshot = Snapshot(state["step"], state["values"], tensors)
        self._pace.step = snapshot.step
        return Resumed(snapshot, datetime.fromisoformat(state["at"]), [])

    def _go_on_from(self, snapshot: Snapshot) -> list[Point]:
        """The curves until then; what was trained behind it is counted."""
        points = read_lines(self._folder / POINTS)
        kept = [point for point in points if point["step"] <= snapshot.step]
        reached = max((point.get("trained_tokens", 0) for point in points), default=0)
        repeated = max(0, int(reached) - snapshot.values["tokens"])
        if repeated:
            with (self._folder / RESUMED).open("a") as file:
                file.write(json.dumps({"step": snapshot.step, "repeated_tokens": repeated}) + "\n")
        (self._folder / POINTS).write_text("".join(json.dumps(point) + "\n" for point in kept))
        again = read_lines(self._folder / RESUMED)
        self.repeated_tokens = sum(int(each["repeated_tokens"]) for each in again)
        return kept


def remembered(path: Path, key: str, make: Callable[[], Any]) -> Any:
    """The value beside the key in that file, which `make` gives where there is none."""
    known = {line["key"]: line["value"] for line in read_lines(path)}
    if key not in known:
        known[key] = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps({"key": key, "value": known[key]}) + "\n")
    return known[key]


def read_lines(path: Path) -> list[Mapping[str, Any]]:
    """The whole lines of a JSONL file, which a killed process may have left in the middle of one."""
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
