"""Runs steps in child processes of one fork server, so that the parent never holds a model.

A child is told what to do by plain values and leaves files in its folder: `log.txt`, then `result.json`
or `error.json`, and `usage.json`. Nothing is pickled on the way back. It leads a process group of its
own, and ends that group when its parent dies: the sentinel of `multiprocessing.parent_process()` becomes
ready even after a SIGKILL, where PR_SET_PDEATHSIG would watch the fork server instead.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO, Any

from ..environment import without_credentials
from ..errors import StepError, StepladderError
from ..files import is_disk_full, no_room
from .devices import device_for, wanted
from .limits import Limits, hold_memory, is_out_of_memory, release_memory

Log = Callable[[str], None]
KINDS = "stepladder.core.steps"
PRELOAD = ("stepladder.core.training.preload",)
WITH_REGISTRY = ("stepladder.core.tracking.preload",)  # all of PRELOAD, too
LOG, RESULT, ERROR, USAGE = "log.txt", "result.json", "error.json", "usage.json"
POLL_SECONDS = 0.1
LAST_LINES = 15
# A plugin may print without end, or raise with a text of any length: so much of it goes further than the log.
MOST_AT_ONCE = 2**13
LONGEST_MESSAGE = 10_000
NO_LIMITS = Limits()
# multiprocessing's own book-keeping, one for the whole process, is not safe for threads: start and join under
# one lock.
BOOKS = threading.Lock()
# With this exit code a child says what it cannot write.
FULL = os.EX_IOERR
DISK_FULL = "DiskFull"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed. `exit_code` is what the command ends with if nothing else can be done."""

    type: str
    message: str
    exit_code: int = 1
    traceback: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its result or its failure, wall seconds from before its start, memory in bytes."""

    result: dict[str, Any] | None
    failure: Failure | None
    seconds: float
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """What a child is told: module `package`.`kind`, its spec, its folder, and the parent's environment."""

    package: str
    kind: str
    spec: Mapping[str, Any]
    folder: str
    environment: Mapping[str, str]
    limits: Limits = NO_LIMITS


@dataclass
class Children:
    """Starts children, one fork server for all of them; `stop` ends those that run, and no more are started.

    `kinds` is the package whose modules are the step kinds. The fork server starts with the first child
    and imports `preload` before it.
    """

    kinds: str = KINDS
    preload: tuple[str, ...] = PRELOAD
    _running: set[ForkServerProcess] = field(default_factory=set)
    _stopped: bool = False

    def run(
        self, kind: str, spec: Mapping[str, Any], folder: Path, log: Log, limits: Limits = NO_LIMITS
    ) -> Ended:
        """Run `kind` on `spec` in the existing `folder` to its end; each line of its log goes to `log`.

        It may have to wait for a device first, which counts neither as its time nor against its limit.
        """
        waiting = partial(log, "waiting: every device of this machine is taken by another step")
        with device_for(kind, waiting, lambda: self._stopped, wanted(kind, spec)) as device:
            started = time.monotonic()
            (folder / LOG).touch()
            work = Work(self.kinds, kind, dict(spec), str(folder), {**os.environ, **device}, limits)
            process = self._start(work)
            try:
                in_time = _follow(process, folder / LOG, log, limits.seconds)
            finally:
                exit_code = self._end(process)
        seconds = time.monotonic() - started
        failure = self._cut_short(kind, exit_code) or _out_of_room(kind, exit_code, folder)
        if not in_time:
            reached = "".join(_last_lines(folder / LOG)[-1:])
            failure = Failure("Timeout", limits.out_of_time(kind, reached))
        return _ended(work, exit_code, seconds, failure)

    def stop(self) -> None:
        """Kill every child that still runs, with all that it started; from now on `run` raises StepError."""
        with BOOKS:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def guard(self, pid: int) -> None:
        """See to it that the process `pid`, which this one has started, ends when this one is killed."""
        context = multiprocessing.get_context("forkserver")
        with BOOKS, _hidden_main():
            context.set_forkserver_preload(list(self.preload))
            context.Process(target=_guard, args=(pid,), daemon=True).start()

    def _start(self, work: Work) -> ForkServerProcess:
        context = multiprocessing.get_context("forkserver")
        with BOOKS, _hidden_main():
            if self._stopped:
                raise StepError(f"{work.kind}: not started, since the run has been stopped")
            context.set_forkserver_preload(list(self.preload))
            process = context.Process(target=_child, args=(work,), name=work.kind)
            try:
                process.start()
            except (OSError, EOFError) as error:
                raise StepError(f"{work.kind}: the fork server did not start a child ({error!r})") from error
            self._running.add(process)
        return process

    def _cut_short(self, kind: str, exit_code: int) -> Failure | None:
        """The failure of a child that `stop` has killed."""
        killed = self._stopped and exit_code == -signal.SIGKILL
        return Failure("Stopped", f"{kind}: killed, since the run was stopped") if killed else None

    def _end(self, process: ForkServerProcess) -> int:
        """Exit code of a child (negative for a signal), which is killed if it still runs."""
        with BOOKS:
            if not wait([process.sentinel], timeout=0):
                _kill(process)
            process.join()
            self._running.discard(process)
        assert process.exitcode is not None, "a joined process has ended"
        return process.exitcode


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep children from importing the parent's main module again, which may import anything at all."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _follow(process: ForkServerProcess, path: Path, log: Log, seconds: float) -> bool:
    """Forward the growing file line by line until the child ends; False if its time is up first."""
    deadline = time.monotonic() + seconds
    with path.open("rb") as file:
        rest = b""
        while True:
            ended = bool(wait([process.sentinel], timeout=POLL_SECONDS))
            rest = _forward(file, rest, log)
            if ended:
                rest = _forward(file, rest, log)  # the last part, where some was passed over
                _forward_line(rest, log)
                return True
            if time.monotonic() > deadline:
                return False


def _forward(file: IO[bytes], rest: bytes, log: Log) -> bytes:
    """Forward the whole lines that are new; returns the beginning of the next one.

    Of more than can be read at once the first part and, by the next call, the last one.
    """
    *lines, rest = (rest + file.read(MOST_AT_ONCE)).split(b"\n")
    for line in lines:
        _forward_line(line, log)
    over = os.fstat(file.fileno()).st_size - file.tell() - MOST_AT_ONCE
    if over <= 0:
        return rest
    _forward_line(rest, log)
    log(f"… {over:,} bytes are passed over here; the log has them: {file.name}")
    file.seek(over, os.SEEK_CUR)
    return b""


def _forward_line(line: bytes, log: Log) -> None:
    text = line.decode(errors="replace").rstrip("\r")
    visible = text.rpartition("\r")[2]  # a progress bar overwrites its own line
    if visible.strip():
        log(visible[:MOST_AT_ONCE])


def _kill(process: ForkServerProcess) -> None:
    assert process.pid is not None, "only started children are kept"
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _ended(work: Work, exit_code: int, seconds: float, failure: Failure | None) -> Ended:
    folder = Path(work.folder)
    usage = _read(folder / USAGE) or {}
    result = _read(folder / RESULT) if failure is None and exit_code == 0 else None
    if failure is None and result is None:
        error = _read(folder / ERROR)
        failure = Failure(**error) if error else _crash(work, exit_code)
    if failure is not None and failure.type != DISK_FULL:
        (folder / RESULT).unlink(missing_ok=True)
        (folder / ERROR).write_text(json.dumps(failure.to_json(), indent=2))
    return Ended(result, failure, seconds, usage.get("peak_memory_bytes"))


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object at `path`; None if it is not there or a killed child left half of it."""
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return value


def _crash(work: Work, exit_code: int) -> Failure:
    """The failure of a child that could not say anything itself."""
    how = f"ended with exit code {exit_code}"
    if exit_code < 0:
        how = f"was killed by {signal.Signals(-exit_code).name}"
    if exit_code == -signal.SIGKILL:
        how += " (most often: the machine ran out of memory)"
    elif work.limits.memory_gb is not None:
        how += f" (its memory was held to limits.memory_gb: {work.limits.memory_gb:g})"
    last = "\n".join(f"  {line}" for line in _last_lines(Path(work.folder, LOG))) or "  (empty)"
    return Failure("Crash", f"{work.kind}: the child process {how}; the last lines of its log:\n{last}")


def _out_of_room(kind: str, exit_code: int, folder: Path) -> Failure | None:
    """The failure of a child that could not even write down why it failed."""
    return Failure(DISK_FULL, no_room(kind, folder)) if exit_code == FULL else None


def _last_lines(path: Path) -> list[str]:
    """Of the log, however long it is."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MOST_AT_ONCE))
        return file.read().decode(errors="replace").splitlines()[-LAST_LINES:]


# Below runs in the child.


def _child(work: Work) -> None:
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(work.folder)
    _redirect_output(folder / LOG)
    os.environ.clear()
    os.environ.update(work.environment)
    hold_memory(work.limits.memory_gb)
    try:
        _do(work, folder)
    except BaseException as error:
        if is_disk_full(error):
            os._exit(FULL)
        raise


def _do(work: Work, folder: Path) -> None:
    try:
        _write(folder / RESULT, _run(work))
    except BaseException as error:
        if is_disk_full(error):
            raise
        _tell(work, folder, error)
    _write(folder / USAGE, {"peak_memory_bytes": peak_memory_bytes()})


def _tell(work: Work, folder: Path, error: BaseException) -> None:
    release_memory()
    failure = _failure(error)
    if work.limits.memory_gb is not None and is_out_of_memory(error):
        over = work.limits.over_memory(work.kind, peak_memory_bytes())
        failure = replace(failure, message=f"{over}: {failure.message}")
    if not isinstance(error, StepladderError):  # those say all there is to know
        sys.stderr.write(failure.traceback)
    _write(folder / ERROR, failure.to_json())


def _end_with_parent() -> None:
    _wait_for_end_of_parent()
    os.killpg(0, signal.SIGKILL)


def _guard(pid: int) -> None:
    _wait_for_end_of_parent()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _wait_for_end_of_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a child has a parent"
    wait([parent.sentinel])


def _redirect_output(path: Path) -> None:
    """Send both standard streams, those of native libraries included, to the step's own log."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def _run(work: Work) -> dict[str, Any]:
    from ..environment import bootstrap

    bootstrap()
    step = importlib.import_module(f"{work.package}.{work.kind}")
    result: dict[str, Any] = step.run(work.spec, Path(work.folder))
    return result


def _failure(error: BaseException) -> Failure:
    """Of the error without any credentials that an address in its text may hold."""
    kind, said = type(error).__name__, _bounded(without_credentials(str(error)))
    trace = without_credentials("".join(traceback.format_exception(error)))[-LONGEST_MESSAGE:]
    if isinstance(error, StepladderError):
        return Failure(kind, said, error.exit_code, trace)
    return Failure(kind, f"{kind}: {said}", 1, trace)


def _bounded(text: str) -> str:
    over = len(text) - LONGEST_MESSAGE
    return f"{text[:LONGEST_MESSAGE]}… ({over:,} characters more)" if over > 0 else text


def peak_memory_bytes() -> int:
    """The most memory this process, or the largest that it started, has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) * unit


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2))
