"""The first process of those that torchrun has started: it does the run, and calls the others to its fits.

Its fit's own child forks the process of rank 0, as `devices` would all of them, and looks after the others:
by their pulses and by what they say. One that is gone, or that fails, fails the fit; the run goes on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.distributed.distributed_c10d import PrefixStore, Store

from ..errors import StepError
from ..manifest import sha256
from .failures import any_failed, gone, has_told, read, told
from .launch import Watch, Work, do_together, result_of
from .session import (
    AGAIN,
    COME_SECONDS,
    LOOK_SECONDS,
    OVER,
    PULSE,
    SESSION,
    SILENT_SECONDS,
    About,
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
from .torchrun import LEADS, Torchrun

FITS = "fits"
LEAVE_SECONDS = 5.0


def lead(at: Torchrun, token: str, over: Path) -> None:
    """Say that the run lives, until the file `over` holds the exit code with which it has ended."""
    with answering(at):
        store = connect(at)
        session = Session(at, token, PrefixStore(token, store))
        session.store.set(about(0), member().model_dump_json())
        store.set(SESSION, token)
        while not over.exists():
            session.live()
            time.sleep(LOOK_SECONDS)
        session.store.set(OVER, Over(exit_code=int(over.read_text())).model_dump_json())
        _wait_until_left(session)


def launch_led(at: Torchrun, work: Work, folder: Path, spec: Path) -> dict[str, Any]:
    """Do `work` here, in `folder`, and in all processes that follow this run: they find it by `spec`.

    Raises what `launch` does, and StepError where one of them is not there.
    """
    with answering(at):
        session = Session.open(at, os.environ[LEADS])
        hosts = _gather(session)
        number = session.store.add(FITS, 1)
        store = session.meeting(number)
        session.store.set(call(number), Call(spec=spec, sha256=sha256(spec)).model_dump_json())
        print(f"{at.of} processes on {', '.join(hosts)}", flush=True)  # noqa: T201  (the task's log)
        do_together([session.place(number, folder)], work, Others(session, store))
        return result_of(store)


class Others(Watch):
    """Those that take part in a fit elsewhere, as its own process sees them."""

    seconds = LOOK_SECONDS

    def __init__(self, session: Session, meeting: Store) -> None:
        self._session, self._meeting = session, meeting
        self._pulses = {rank: Pulse(session.store, pulse_of(rank)) for rank in range(1, session.at.of)}

    def has_failed(self) -> bool:
        self._meeting.add(PULSE, 1)
        for rank, pulse in self._pulses.items():
            if pulse.silent():
                said = f"has not been heard of for {SILENT_SECONDS:.0f} s: it or its machine is gone; {AGAIN}"
                gone(self._meeting, rank, f"{self._session.name(rank)} {said}")
        return any_failed(self._meeting)

    def settle(self) -> None:
        """Until all have left, have told, or are gone: who failed first may not be the first to be heard."""
        while any(not self._is_settled(rank) for rank in self._pulses):
            self.has_failed()
            time.sleep(LOOK_SECONDS)
        for rank, first in list(told(self._meeting, self._session.at.of).items())[:1]:
            if rank and first.trace:
                sys.stderr.write(f"{self._session.name(rank)}:\n{first.trace}")

    def _is_settled(self, rank: int) -> bool:
        return self._meeting.check([left(rank)]) or has_told(self._meeting, rank)


def _gather(session: Session) -> list[str]:
    """The machines, once all are there. Raises StepError where a process is not, or is of another kind."""
    ranks, until = range(1, session.at.of), time.monotonic() + COME_SECONDS
    while missing := [rank for rank in ranks if not session.store.check([about(rank)])]:
        if time.monotonic() > until:
            name = session.name(missing[0])
            raise StepError(f"{name} of torchrun's has not come within {COME_SECONDS:.0f} s; {AGAIN}")
        time.sleep(LOOK_SECONDS)
    for rank in ranks:
        _require_alike(session.name(rank), read(session.store, about(rank), About))
    all_of_them = (read(session.store, about(rank), About) for rank in ranks)
    return list(dict.fromkeys([member().host, *(each.host for each in all_of_them)]))


def _require_alike(name: str, found: About) -> None:
    own, other = (each.model_dump(exclude={"host"}) for each in (member(), found))
    differs = [
        f"{key}: {other[key]}, where the first has {own[key]}" for key in own if own[key] != other[key]
    ]
    if differs:
        raise StepError(f"{name} cannot take part: {'; '.join(differs)}: make all machines alike")


def _wait_until_left(session: Session) -> None:
    until = time.monotonic() + LEAVE_SECONDS
    while _any_stays(session, range(1, session.at.of)) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)


def _any_stays(session: Session, ranks: Iterable[int]) -> bool:
    return any(not session.store.check([left(rank)]) for rank in ranks)
