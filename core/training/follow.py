"""A process of torchrun's that is not the first one: it waits for the fits of that one's run, and takes part.

It ends when the run is over, or when nothing is heard any more of the run or of torchrun's store.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch.distributed.distributed_c10d import Store

from ..errors import StepError, StepladderError
from ..manifest import sha256
from .devices import device_for
from .failures import any_failed, next_number, read, tell
from .launch import Watch, do_together, failure_of
from .session import (
    AGAIN,
    COME_SECONDS,
    LOOK_SECONDS,
    OVER,
    PULSE,
    SESSION,
    Call,
    Over,
    Pulse,
    Session,
    about,
    answering,
    call,
    connect,
    left,
    member,
    pulse_of,
)
from .torchrun import Torchrun

SEE_SECONDS = 10.0  # a file system that machines share may show a new file late
Fit = Callable[[Path, Path], Mapping[str, Any]]


def follow(at: Torchrun, runs: Path, fit: Fit, folder: Path) -> int:
    """Take part in each fit of the run, below `runs`, by `fit(its spec, a folder)`; returns its exit code.

    Raises StepError where the run, or torchrun's store, is gone.
    """
    with answering(at):
        store, following = connect(at), None
        while True:
            token = _token(store)
            if following is None or following.session.token != token:  # torchrun has started all anew
                following = Following(Session.open(at, token), runs, fit, folder)
            exit_code = following.look()
            if exit_code is not None:
                return exit_code
            time.sleep(LOOK_SECONDS)


class Following:
    """One run, as it is followed."""

    def __init__(self, session: Session, runs: Path, fit: Fit, folder: Path) -> None:
        self.session, self._runs, self._fit, self._folder = session, runs, fit, folder
        self._first = Pulse(session.store, pulse_of(0))
        self._number = 1
        session.live()
        session.store.set(about(session.at.rank), member().model_dump_json())

    def look(self) -> int | None:
        """Take part in the next fit if there is one; the exit code of the run once it is over."""
        session = self.session
        session.live()
        if session.store.check([OVER]):
            session.store.set(left(session.at.rank), "")
            return read(session.store, OVER, Over).exit_code
        if self._first.silent():
            raise StepError(
                f"nothing is heard any more of the first process, whose run this follows; {AGAIN}"
            )
        if session.store.check([call(self._number)]):
            self._take_part(self._number)
            self._number += 1
        return None

    def _take_part(self, number: int) -> None:
        meeting, rank = self.session.meeting(number), self.session.at.rank
        place = self.session.place(number, self._folder / str(number))
        watch = Elsewhere(self.session, meeting)
        try:
            spec = self._find(read(self.session.store, call(number), Call), watch)
            with (
                device_for("fit", lambda: None, watch.has_failed) as device,
                _in_environment(device),
                contextlib.suppress(StepladderError),  # of the fit itself: it is told already
            ):
                do_together([place], partial(self._fit, spec), watch)
        except StepladderError as error:
            tell(meeting, rank, failure_of(place, error, next_number(meeting)))
        finally:
            meeting.set(left(rank), "")

    def _find(self, called: Call, watch: Watch) -> Path:
        """The spec of the fit. Raises StepError where it is not what the first process has written."""
        if not called.spec.is_relative_to(self._runs):
            raise StepError(
                f"the first process's run is in {called.spec.parents[2]}, this one's in {self._runs}: start "
                "the same command on all machines, in folders of the same path, or name --runs"
            )
        until = time.monotonic() + SEE_SECONDS
        while not (called.spec.is_file() and sha256(called.spec) == called.sha256):
            if watch.has_failed() or time.monotonic() > until:
                raise StepError(
                    f"cannot see what the first process has written to {called.spec}: the folder of the "
                    "runs must be on a file system that all machines share (--runs)"
                )
            time.sleep(LOOK_SECONDS)
        return called.spec


class Elsewhere(Watch):
    """The other processes of a fit, as one that follows sees them: the first one's fit looks after all."""

    seconds = LOOK_SECONDS

    def __init__(self, session: Session, meeting: Store) -> None:
        self._session, self._meeting = session, meeting
        self._first = Pulse(meeting, PULSE)

    def has_failed(self) -> bool:
        self._session.live()
        return any_failed(self._meeting) or self._first.silent()


@contextlib.contextmanager
def _in_environment(more: Mapping[str, str]) -> Iterator[None]:
    """For processes that are forked meanwhile."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _token(store: Store) -> str:
    """Of the run, once it has begun. Raises StepError where it does not."""
    until = time.monotonic() + COME_SECONDS
    while not store.check([SESSION]):
        if time.monotonic() > until:
            raise StepError(f"the first process has begun no run within {COME_SECONDS:.0f} s; {AGAIN}")
        time.sleep(LOOK_SECONDS)
    return store.get(SESSION).decode()
