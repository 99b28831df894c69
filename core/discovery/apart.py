"""Foreign code is done in a fork of this process, so that it can end or hang only that.

What it prints there goes nowhere, or to this process's log; what it changes in memory is gone with the fork.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

Work = Callable[[], str]
LONGEST_ANSWER = 4_000  # bytes; so few go through a pipe at once


class Ended(Exception):
    """The process in which the work was done has ended, or was ended, before the work had."""


def apart(work: Work, seconds: float, *, silent: bool = False) -> str:
    """What `work` returns, 4,000 bytes of it at most.

    Raises Ended where it ends its process, an error included, or takes longer than so many seconds.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # else both processes would write what is waiting there
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(int(seconds) + 1)  # should this process be killed meanwhile
        _do(work, writer, silent)
    os.close(writer)
    try:
        in_time, _, _ = select.select([reader], [], [], seconds)
        answer = os.read(reader, LONGEST_ANSWER + 1) if in_time else None
    finally:
        os.close(reader)
        how = _end(child)
    if answer is None:
        raise Ended(f"is not done within {seconds:g} seconds")
    if not answer:
        raise Ended(f"ends the process that calls it ({how})")
    return answer[1:].decode(errors="replace")


def _do(work: Work, writer: int, silent: bool) -> NoReturn:
    """In the fork: one byte and the answer go through the pipe, nothing where the work does not return."""
    try:
        if silent:
            _silence()
        os.write(writer, b"\0" + work().encode()[:LONGEST_ANSWER])
    finally:
        os._exit(0)


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w")


def _end(child: int) -> str:
    """Kill the fork, if it still lives, and say how it ended."""
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
