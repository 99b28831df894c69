"""Starts the processes that train one candidate together, on one machine, and ends them together.

They are forked from the step's own child, which has computed nothing yet: so they start in an instant, and
share the libraries in memory. They meet by a file and speak over the loopback: no port is open to others. If
one ends before its work is done, the others are killed, and the step fails with the reason of the first. They
end when the step's child is killed. Of processes on several machines (lead.py, follow.py) those of one are
started and ended here too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import Store

from ..errors import StepladderError
from ..files import is_disk_full
from .failures import Failure, gone, next_number, reason, tell
from .limits import is_out_of_memory, release_memory

RESULT, MEETING = "result", "meeting"
Work = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Of one process: the rank it has of how many, a folder to work in, and how it comes to where they meet.

    `device` is its own of those that it sees; `threads` are those it computes with, None as many as it
    finds. `host` is its machine, where there are several.
    """

    rank: int
    of: int
    folder: Path
    meet: Callable[[], Store]
    device: int = 0
    threads: int | None = None
    host: str = ""

    @property
    def name(self) -> str:
        return named(self.rank, self.of, self.host)


class Watch:
    """Looks after processes elsewhere; of this one there are none."""

    seconds: float | None = None

    def has_failed(self) -> bool:
        """Whether one of them has; asked for every so many `seconds`."""
        return False

    def settle(self) -> None:
        """Wait for all that is to be said of a failure."""


def launch(number: int, work: Work, folder: Path, scratch: Path) -> dict[str, Any]:
    """Do `work` in so many processes of this machine; returns what that of rank 0 gives.

    Rank 0 works in `folder`, the others in folders below `scratch`, which are thrown away. Raises
    ProcessFailed when one of them fails, or DiskFull or OutOfMemory where that is why.
    """
    meeting = scratch / "processes"
    shutil.rmtree(meeting, ignore_errors=True)
    meeting.mkdir(parents=True, exist_ok=True)
    threads = max(1, torch.get_num_threads() // number)
    meet = partial(FileStore, str(meeting / MEETING))
    folders = [folder, *(meeting / str(rank) for rank in range(1, number))]
    places = [Place(rank, number, at, meet, rank, threads) for rank, at in enumerate(folders)]
    try:
        do_together(places, work, Watch())
        return result_of(meet())
    finally:
        shutil.rmtree(meeting, ignore_errors=True)


def do_together(places: Sequence[Place], work: Work, watch: Watch) -> None:
    """Do `work` in a process for each place.

    Raises what the first process to fail, here or elsewhere, has said.
    """
    for place in places:
        place.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_take_part, args=(place, work)) for place in places]
    try:
        for process in started:
            process.start()
        done = _all_done(started, places, watch)
    finally:
        _end(started)
    if not done:
        watch.settle()
        raise reason(places[0].meet(), places[0].of)


def result_of(store: Store) -> dict[str, Any]:
    """What the process of rank 0 has given to those who meet there."""
    result: dict[str, Any] = json.loads(store.get(RESULT))
    return result


def named(rank: int, of: int, host: str = "") -> str:
    return f"process {rank + 1} of {of} (on {host})" if host else f"process {rank + 1} of {of}"


def _all_done(started: Sequence[ForkProcess], places: Sequence[Place], watch: Watch) -> bool:
    """False as soon as one has failed."""
    running = list(started)
    while running:
        wait([process.sentinel for process in running], watch.seconds)
        running = [process for process in running if process.exitcode is None]
        if any(process.exitcode for process in started):
            _tell_of_killed(started, places)
            return False
        if running and watch.has_failed():
            return False
    return True


def _tell_of_killed(started: Sequence[ForkProcess], places: Sequence[Place]) -> None:
    for process, place in zip(started, places, strict=True):
        if process.exitcode and process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            gone(place.meet(), place.rank, f"{place.name} was killed by {name}")


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
        store = _join(place)
        result = work(place.folder)
        if place.rank == 0:
            store.set(RESULT, json.dumps(result))
        dist.barrier()  # who leaves early takes the others' connections along
        dist.destroy_process_group()
    except BaseException as error:
        release_memory()
        if not isinstance(error, StepladderError):  # those say all there is to know
            traceback.print_exception(error)
        store = place.meet()
        tell(store, place.rank, failure_of(place, error, next_number(store)))
        sys.exit(1)


def _join(place: Place) -> Store:
    if place.threads:
        torch.set_num_threads(place.threads)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(place.device)
        backend = "nccl"
    if not place.host:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo" if sys.platform == "linux" else "lo0")
    store = place.meet()
    dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.of)
    return store


def failure_of(place: Place, error: BaseException, order: int) -> Failure:
    """What the process there says of its error."""
    foreseen = isinstance(error, StepladderError)
    message = str(error) if foreseen else f"{type(error).__name__}: {error}"
    kinds = {"out_of_memory": is_out_of_memory(error), "disk_full": is_disk_full(error)}
    about = {
        "order": order,
        "message": message if foreseen and not place.host else f"{place.name}: {message}",
        "exit_code": getattr(error, "exit_code", 1),
        "kind": next((kind for kind, found in kinds.items() if found), "other"),
        "trace": "" if foreseen else "".join(traceback.format_exception(error)),
    }
    return Failure.model_validate(about)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process that was started has a parent"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
