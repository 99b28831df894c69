"""Batches go to several processes and come back in order; a process that fails or dies is told."""

import os
import signal
import time
from itertools import count, islice
from pathlib import Path

import pytest
from stepladder.core.data.parallel import FEW_ROWS, in_order, processes_for
from stepladder.core.errors import StepError


def slow_squares(number: int) -> tuple[int, int]:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number, os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("batches", [0, 1, 2, 5, 20])
def test_results_come_in_the_order_of_the_batches(processes, batches):
    results = list(in_order(slow_squares, range(batches), processes))
    assert [square for square, _ in results] == [number * number for number in range(batches)]
    others = {pid for _, pid in results} - {os.getpid()}
    assert len(others) == (0 if processes == 1 else min(processes, batches))


def test_large_batches_and_results_do_not_wait_for_each_other():
    content = os.urandom(2**20)
    assert all(part == content for part in in_order(bytes, [content] * 9, 2))


def test_no_more_batches_are_taken_than_there_is_work_for():
    taken = count()

    def batches():
        while True:
            yield next(taken)

    results = in_order(abs, batches(), 2)
    assert list(islice(results, 5)) == [0, 1, 2, 3, 4]
    results.close()
    assert next(taken) < 10


def test_the_work_is_done_with_what_the_caller_has():
    held = object()  # cannot be sent to another process as itself
    assert list(in_order(lambda number: (number, id(held)), range(3), 2)) == [(n, id(held)) for n in range(3)]


def test_an_error_in_a_process_is_told_with_its_place():
    with pytest.raises(StepError, match=r"a process that prepares rows failed: (.|\n)*ZeroDivisionError"):
        list(in_order(lambda number: 1 / number, [2, 1, 0, 3], 2))


def test_a_process_that_is_killed_is_told():
    def die(number):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(StepError, match=r"ended with exit code -9: was there too little memory\?"):
        list(in_order(die, range(3), 2))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_processes_end_with_the_reading_of_their_results():
    results = in_order(slow_squares, range(100), 2)
    pids = {pid for _, pid in islice(results, 4)}
    assert len(pids) == 2
    results.close()
    assert all(map(gone, pids))


def test_the_processes_end_when_their_caller_is_killed(tmp_path):
    caller = os.fork()
    if caller == 0:
        results = in_order(slow_squares, range(1000), 2)
        pids = {pid for _, pid in islice(results, 4)}
        (tmp_path / "pids.new").write_text(" ".join(map(str, pids)))
        (tmp_path / "pids.new").rename(tmp_path / "pids")
        signal.pause()
    deadline = time.monotonic() + 20
    while not (tmp_path / "pids").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)
    while not all(map(ended, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(pid: int) -> bool:
    """Gone, or dead and not yet collected by whoever inherits it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_few_rows_are_done_by_one_process_and_many_by_those_there_are_cores_for():
    assert processes_for(FEW_ROWS - 1) == 1
    assert processes_for(FEW_ROWS) == len(os.sched_getaffinity(0))
