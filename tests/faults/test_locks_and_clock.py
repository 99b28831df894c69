"""A registry that somebody else is writing to, and a clock that goes back."""

import contextlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from real_run import RUN, wait_until

LOCKED_SECONDS = 20
YEAR = 365 * 86400
# Loaded by every process of a project before anything else.
CLOCK = """
import os, time
true = time.time
def moved():
    return true() - (3600 if os.path.exists(os.environ["CLOCK_IS_MOVED"]) else 0)
time.time = moved
"""

pytestmark = pytest.mark.faults


@contextlib.contextmanager
def locked(project, *kinds):
    """Somebody else writes into the registry's database: at each such step until it has waited 20 seconds."""

    def hold():
        for kind in kinds:
            wait_until(lambda at=kind: list(project.runs.glob(f"steps/{at}-*.partial")), kind, 300)
            with contextlib.closing(sqlite3.connect(project.database, timeout=60)) as connection:
                connection.execute("begin exclusive")
                wait_until(lambda: "home/locks/mlflow" in project.held_locks(), kind, 300)
                time.sleep(LOCKED_SECONDS)
                connection.rollback()

    with ThreadPoolExecutor() as pool:
        held = pool.submit(hold)
        yield
        held.result()


def test_a_registry_that_is_locked_for_20_seconds_is_waited_for(project, shell):
    made = shell.stepladder("show", "models:/nobody@champion")
    assert made.code == 2, made.said
    assert project.database.exists()
    with locked(project, "record", "register"):
        ended = shell.stepladder(*RUN, "--set", "methods=[zero_shot]")
    assert ended.code == 0, ended.said
    assert project.versions() == [("colours", 1)]


def test_a_clock_that_goes_back_changes_nothing(project, shell):
    """First that of what lies on the disk, which is then of next year; then that of the processes."""
    (project.folder / "site").mkdir()
    (project.folder / "site" / "sitecustomize.py").write_text(CLOCK)
    moved = {"CLOCK_IS_MOVED": str(project.folder / "moved")}
    zero_shot = ("--set", "methods=[zero_shot]")
    first = project.stepladder(*RUN, *zero_shot, **moved)
    assert first.code == 0, first.said
    for path in (*project.runs.rglob("*"), *project.home.rglob("*")):
        os.utime(path, (time.time() + YEAR,) * 2)
    running = project.start(*RUN, **moved)
    running.read_until("fit lora |")
    (project.folder / "moved").touch()
    ended = running.wait()
    assert ended.code == 0, ended.said
    assert "✓ fit zero_shot  done before" in ended.out
    assert [version for _, version in project.versions()] == [1, 2]
    for path in project.runs.glob("colours-*/result.json"):
        assert '_seconds": -' not in path.read_text()
    project.assert_nothing_is_left()
