"""One run and those who follow it, in torchrun's store: who is there, who lives, what is to be done.

    session                    the token of the run; all else lies below it
    about-<rank>, pulse-<rank> what each process is; a number that it raises as long as it lives
    call-<n>                   the n-th fit: where its spec lies
    fit-<n>/…                  where the processes of that fit meet, with a pulse of its own
    over                       the run has ended, and how
    left-<rank>                so has that process; below fit-<n> with that fit

All values are JSON of the forms below. Whoever reaches torchrun's port can write there: torchrun itself asks
for no password, so it belongs on a private network.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from ..environment import installed
from ..errors import StepError
from .devices import devices
from .failures import Message, read
from .launch import Place, named
from .torchrun import Torchrun

SESSION, PULSE, OVER = "session", "pulse", "over"
LOOK_SECONDS = 0.5
SILENT_SECONDS = 15.0  # who has not been heard of for so long is gone
COME_SECONDS = 180.0  # a machine may take long to import its libraries
ANSWER = timedelta(seconds=30)
AGAIN = (
    "start torchrun again on all machines: finished steps are kept, a fit goes on from its last checkpoint"
)


class About(Message):
    """What must be alike in all processes, and the machine of this one."""

    host: str
    stepladder: str
    torch: str
    devices: bool


class Call(Message):
    """A fit to take part in: the file of its spec, which must be the one that the first process sees."""

    spec: Path
    sha256: str


class Over(Message):
    exit_code: int


def member() -> About:
    """Of this process."""
    return About(
        host=socket.gethostname(),
        stepladder=installed("stepladder"),
        torch=str(torch.__version__),
        devices=bool(devices()),
    )


@dataclass(frozen=True, slots=True)
class Session:
    """As the process `at` sees it; `store` is below the token."""

    at: Torchrun
    token: str
    store: Store

    @classmethod
    def open(cls, at: Torchrun, token: str) -> Session:
        return cls(at, token, PrefixStore(token, connect(at)))

    def live(self) -> None:
        self.store.add(pulse_of(self.at.rank), 1)

    def host(self, rank: int) -> str:
        """The machine of a process; empty where all are on one."""
        if self.at.here == self.at.of or not self.store.check([about(rank)]):
            return ""
        return read(self.store, about(rank), About).host

    def name(self, rank: int) -> str:
        return named(rank, self.at.of, self.host(rank))

    def meeting(self, number: int) -> Store:
        return PrefixStore(_fit(number), self.store)

    def place(self, number: int, folder: Path) -> Place:
        """Of this process in that fit."""
        meet = Meet(self.at, self.token, number)
        return Place(self.at.rank, self.at.of, folder, meet, host=self.host(self.at.rank))


@dataclass(frozen=True, slots=True)
class Meet:
    """Comes to where the processes of a fit meet, by a connection of its own."""

    at: Torchrun
    token: str
    number: int

    def __call__(self) -> Store:
        return Session.open(self.at, self.token).meeting(self.number)


class Pulse:
    """Whether somebody lives, by a number that he raises: no clock of another machine counts."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._value, self._since = 0, time.monotonic()

    def silent(self) -> bool:
        value, now = self._store.add(self._key, 0), time.monotonic()
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since > SILENT_SECONDS


def connect(at: Torchrun) -> Store:
    """A connection to torchrun's store, to what is Stepladder's there. Raises torch's DistError."""
    store = TCPStore(at.address, at.port, is_master=False, wait_for_workers=False, timeout=ANSWER)
    return PrefixStore(f"stepladder-{at.attempt}", store)


@contextmanager
def answering(at: Torchrun) -> Iterator[None]:
    """Raises StepError where the store does not answer."""
    try:
        yield
    except DistError as error:
        raise StepError(
            f"torchrun's store at {at.address}:{at.port} is gone: the torchrun that kept it has ended, or "
            f"its machine cannot be reached; {AGAIN}"
        ) from error


def about(rank: int) -> str:
    return f"about-{rank}"


def pulse_of(rank: int) -> str:
    return f"{PULSE}-{rank}"


def call(number: int) -> str:
    return f"call-{number}"


def left(rank: int) -> str:
    return f"left-{rank}"


def _fit(number: int) -> str:
    return f"fit-{number}"
