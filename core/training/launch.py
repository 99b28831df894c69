"""Starts the processes that train one candidate together, on one machine, and ends them together.

They are forked from the step's own child, which has computed nothing yet: so they start in an instant, and
share the libraries in memory. They meet by a file and speak over the loopback: no port is open to others. If
one ends before its work is done, the others are killed, and the step fails with the reason of the first. They
end when the step's child is killed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..errors import DiskFull, OutOfMemory, StepError, StepladderError
from ..files import is_disk_full
from .limits import is_out_of_memory, release_memory

RESULT, MEETING = "result.json", "meeting"
Work = Callable[[Path], Mapping[str, Any]]


class ProcessFailed(StepError):
    """What one of several processes ended with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Place:
    """Of one process: the rank it has of how many, the folder that they meet in, and one to work in."""

    rank: int
    of: int
    meeting: Path
    folder: Path

    @property
    def failure(self) -> Path:
        return self.meeting / f"failure-{self.rank}.json"


def launch(number: int, work: Work, folder: Path, scratch: Path) -> dict[str, Any]:
    """Do `work` in so many processes; returns what that of rank 0 gives.

    Rank 0 works in `folder`, the others in folders below `scratch`, which are thrown away. Raises
    ProcessFailed when one of them fails, or DiskFull or OutOfMemory where that is why.
    """
    meeting = scratch / "processes"
    shutil.rmtree(meeting, ignore_errors=True)
    places = [Place(rank, number, meeting, meeting / str(rank) if rank else folder) for rank in range(number)]
    for place in places:
        place.folder.mkdir(parents=True, exist_ok=True)
    meeting.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_take_part, args=(place, work)) for place in places]
    try:
        for process in started:
            process.start()
        _wait_for_all(started, places)
        result: dict[str, Any] = json.loads((meeting / RESULT).read_text())
    finally:
        _end(started)
        shutil.rmtree(meeting, ignore_errors=True)
    return result


def _wait_for_all(started: Sequence[ForkProcess], places: Sequence[Place]) -> None:
    running = list(started)
    while running:
        wait([process.sentinel for process in running])
        if any(process.exitcode for process in running):
            raise _failure(started, places)
        running = [process for process in running if process.exitcode is None]


def _failure(started: Sequence[ForkProcess], places: Sequence[Place]) -> StepladderError:
    """Of the process that failed first: where one is gone, the others fail for want of it."""
    number = len(places)
    for process, place in zip(started, places, strict=True):
        if process.exitcode and process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            return ProcessFailed(f"process {place.rank + 1} of {number} was killed by {name}", 1)
    said = [json.loads(place.failure.read_text()) for place in places if place.failure.exists()]
    if not said:
        return ProcessFailed(f"one of {number} processes ended without a word; its log may say why", 1)
    first = min(said, key=lambda each: float(each["at"]))
    if first["disk_full"]:
        return DiskFull(first["message"])
    if first["out_of_memory"]:
        return OutOfMemory(first["message"])
    return ProcessFailed(first["message"], first["exit_code"])


def _end(started: Sequence[ForkProcess]) -> None:
    for process in started:
        if process.pid is not None:
            process.kill()
            process.join()


# Below runs in the processes that are started.


def _take_part(place: Place, work: Work) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if place.rank:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  (open until the process ends)
    try:
        _join(place)
        result = work(place.folder)
        if place.rank == 0:
            (place.meeting / RESULT).write_text(json.dumps(result))
        dist.barrier()  # who leaves early takes the others' connections along
        dist.destroy_process_group()
    except BaseException as error:
        _tell(place, error)
        sys.exit(1)


def _join(place: Place) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // place.of))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(place.rank)
        backend = "nccl"
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo" if sys.platform == "linux" else "lo0")
    store = dist.FileStore(str(place.meeting / MEETING), place.of)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.of)


def _tell(place: Place, error: BaseException) -> None:
    release_memory()
    message = str(error)
    if not isinstance(error, StepladderError):  # those say all there is to know
        message = f"process {place.rank + 1} of {place.of}: {type(error).__name__}: {error}"
        traceback.print_exception(error)
    said = {
        "at": time.time(),
        "message": message,
        "exit_code": getattr(error, "exit_code", 1),
        "disk_full": is_disk_full(error),
        "out_of_memory": is_out_of_memory(error),
    }
    place.failure.write_text(json.dumps(said))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process that was started has a parent"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
