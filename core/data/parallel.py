"""Batches worked on by several processes at once, with the results in the order of the batches.

The processes are forked, so that they have what the work is done with (a tokenizer, an index) at once and
without a copy; a batch and its result go through a pipe. Each process has one batch at a time: it waits for
the next whenever something is written to it, so that both ends never wait for each other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Generic, TypeVar

from ..errors import StepError

T = TypeVar("T")
R = TypeVar("R")
FEW_ROWS = 4000


def in_order(work: Callable[[T], R], batches: Iterable[T], processes: int) -> Iterator[R]:
    """`work` of each batch. Raises StepError where it fails in one of several processes."""
    if processes < 2:
        yield from map(work, batches)
        return
    with contextlib.ExitStack() as stack:
        workers: deque[Worker[T, R]] = deque()  # the first is the one whose turn it is
        for _ in range(processes):
            workers.append(stack.enter_context(Worker(work, workers)))
        given = 0
        for batch in batches:
            worker = workers[0]
            workers.rotate(-1)
            done = [worker.take()] if given >= processes else []
            worker.give(batch)
            given += 1
            yield from done
        workers.rotate(min(given, processes))
        for worker in islice(workers, given):
            yield worker.take()


def processes_for(rows: int) -> int:
    """One where few rows are done before others would have begun, else as many as there are cores.

    Also one where it is not told which cores there are to use: there processes are better not forked.
    """
    if rows < FEW_ROWS or not hasattr(os, "sched_getaffinity"):
        return 1
    return len(os.sched_getaffinity(0))


class Worker(Generic[T, R]):
    """One process; use as a context."""

    def __init__(self, work: Callable[[T], R], earlier: Iterable[Worker[T, R]]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        ours = [self._pipe, *(worker._pipe for worker in earlier)]
        self._process: ForkProcess = context.Process(target=_serve, args=(work, theirs, ours), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, batch: T) -> None:
        self._pipe.send(batch)

    def take(self) -> R:
        """The result of the batch that was given."""
        try:
            result, fault = self._pipe.recv()
        except EOFError:
            self._process.join()
            fault = f"it ended with exit code {self._process.exitcode}: was there too little memory?"
        if fault:
            raise StepError(f"a process that prepares rows failed: {fault}")
        found: R = result
        return found

    def __enter__(self) -> Worker[T, R]:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.kill()  # it holds nothing, and may have the step's own way to take a softer signal
        self._process.join()


def _serve(work: Callable[[T], R], pipe: Connection, theirs: Iterable[Connection]) -> None:
    """Works until the pipe's other end is closed, if only by its holder's death: no copy of it is kept."""
    for connection in theirs:
        connection.close()
    # Every process has a core; threads beside it would only be in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with contextlib.suppress(EOFError):  # the other end has all it wants
        while True:
            batch = pipe.recv()
            try:
                pipe.send((work(batch), None))
            except Exception:
                pipe.send((None, traceback.format_exc()))
