"""The right to change who is champion, held by one process at a time.

On one machine it is a file lock. Between machines there is only the registry, which can neither lock nor
compare and swap: there it is Fischer's algorithm (in Lamport, "A Fast Mutual Exclusion Algorithm", 1987) on
the tag that holds the intent. Who finds none writes his own, waits for longer than others need from reading
to writing, and goes on if his is there still. The intent of a killed process is told by its home if that is
this one, else by its no longer being renewed.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from mlflow import MlflowClient, MlflowException

from ..environment import home
from ..files import file_lock
from .standing import Intent, Standing, delete_intent, read_standing, write_intent

SETTLE_SECONDS = 0.5
POLL_SECONDS = 0.5
BEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0


@contextlib.contextmanager
def alone_here(name: str) -> Iterator[None]:
    """Only this process of this home may change who is champion of `name`."""
    with file_lock(home() / "locks" / f"champion-{name}"):
        yield


def this_home() -> str:
    """A name for this STEPLADDER_HOME that no other has."""
    path = home() / "id"
    with file_lock(home() / "locks" / "id"):
        if not path.exists() or not path.read_text():
            path.write_text(secrets.token_hex(8))
        return path.read_text()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def wait_for_others(client: MlflowClient, name: str) -> Standing:
    """The standing once nobody elsewhere changes it: an intent that it has still is a dead process's.

    Ages are measured by this machine's own clock, since that of another one may be wrong.
    """
    here, seen, since = this_home(), None, time.monotonic()
    while True:
        standing = read_standing(client, name)
        if standing.intent is None or standing.intent.home == here:
            return standing
        if standing.intent != seen:
            seen, since = standing.intent, time.monotonic()
        if time.monotonic() - since > LEASE_SECONDS:
            return standing
        time.sleep(POLL_SECONDS)


def claim(client: MlflowClient, name: str, intent: Intent, standing: Standing) -> bool:
    """Whether `intent` is in the registry now, and the champions are still as in `standing`."""
    started = time.monotonic()
    write_intent(client, name, intent)
    time.sleep(max(SETTLE_SECONDS, 2 * (time.monotonic() - started)))
    found = read_standing(client, name)
    if not _is(found.intent, intent):
        return False
    if not found.same_champions(standing):
        delete_intent(client, name)
        return False
    return True


def is_claimed(client: MlflowClient, name: str, intent: Intent) -> bool:
    return _is(read_standing(client, name).intent, intent)


@contextlib.contextmanager
def kept_alive(client: MlflowClient, name: str, intent: Intent) -> Iterator[None]:
    """Renew the intent while the block goes on, so that others see that its process lives."""
    done = threading.Event()
    thread = threading.Thread(target=_beat, args=(client, name, intent, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _beat(client: MlflowClient, name: str, intent: Intent, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with contextlib.suppress(MlflowException):  # a beat may be missed
            if _is(read_standing(client, name).intent, intent):
                write_intent(client, name, replace(intent, at=now()))


def _is(found: Intent | None, intent: Intent) -> bool:
    return found is not None and found.token == intent.token
