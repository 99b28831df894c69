"""What several parts do with files: locks that end with their holder, links, and how a full disk is told."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .environment import home

POLL_SECONDS = 0.2
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# How libraries tell of it that pass no number on: safetensors and others in Rust, SQLite.
NO_ROOM_SAID = ("No space left on device", "Disk quota exceeded", "database or disk is full")
MOST_CAUSES = 50  # they may go in a circle


@contextlib.contextmanager
def file_lock(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold `path` alone; `waiting` is called when another holder has to be waited for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def first_free(
    paths: Sequence[Path], waiting: Callable[[], None], stopped: Callable[[], bool]
) -> Iterator[Path | None]:
    """Hold the first of `paths` that nobody holds; None if `stopped` before there is one.

    `waiting` is called once where another holder has to be waited for.
    """
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        taken = _take_any(paths, held)
        if taken is None:
            waiting()
        while taken is None and not stopped():
            time.sleep(POLL_SECONDS)  # the kernel waits for one lock, not for any of several
            taken = _take_any(paths, held)
        yield taken


def _take_any(paths: Sequence[Path], held: contextlib.ExitStack) -> Path | None:
    for path in paths:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            held.enter_context(file)
            return path
    return None


def link(source: Path, target: Path) -> None:
    """Put the file or folder `source` at `target` too, without a second copy on the disk where possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def is_disk_full(error: BaseException) -> bool:
    """Whether this error, or one that led to it, is that of a disk without room."""
    return any(map(_says_no_room, itertools.islice(_causes(error), MOST_CAUSES)))


def no_room(who: str, *folders: Path) -> str:
    """The message for the user; the full one is that with least room of these folders, the home and /tmp."""
    places = [each for each in (*folders, home(), Path(tempfile.gettempdir())) if each.is_dir()]
    free = {each: shutil.disk_usage(each).free for each in places}
    fullest = min(free, key=lambda each: free[each])
    return (
        f"{who}: the disk is full: {free[fullest]:,} bytes are free in {fullest}: make room there and do the "
        "same again; finished steps are kept"
    )


def _says_no_room(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(said in str(error) for said in NO_ROOM_SAID)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
