"""A disk that is full at any step: the run says so and ends, and the next one finishes when there is room."""

import contextlib
import os
import subprocess
import threading
import time

import pytest
from real_run import RUN, make_project, open_shell

STEPS = ("read", "render", "fit", "merge", "evaluate", "compare", "record", "register", "report")
MIB = 2**20

pytestmark = pytest.mark.faults


class Disk:
    """A small one of its own, mounted at `folder`."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def ballast(self):
        return self.folder / "ballast"

    def fill(self):
        """Down to the last byte."""
        with self.ballast.open("ab") as file, contextlib.suppress(OSError):
            for size in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"0" * size)
                        file.flush()

    def make_room(self):
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "stepladder-test", str(tmp_path)]
    if os.getuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only who may mount can have a small disk")
    try:
        yield Disk(tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@contextlib.contextmanager
def filled_at(disk, runs, kind):
    """Somebody fills the disk as soon as a step of this kind has begun."""
    over = threading.Event()

    def watch():
        while not over.is_set():
            if next(runs.glob(f"steps/{kind}-*.partial"), None):
                disk.fill()
                return
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_disk_that_is_full_at_every_step_in_turn(disk, base_folder, tmp_path_factory):
    project, tmp = make_project(disk.folder, base_folder), tmp_path_factory.mktemp("elsewhere")
    with open_shell(project) as shell:
        for kind in STEPS:
            with filled_at(disk, project.runs, kind):
                ended = shell.stepladder(*RUN, TMPDIR=str(tmp))
            assert ended.code == 1, (kind, ended.said)
            assert "the disk is full: 0 bytes are free in " in ended.err, (kind, ended.said)
            assert str(disk.folder) in ended.err
            assert "Traceback" not in ended.said
            disk.make_room()
        ended = shell.stepladder(*RUN, TMPDIR=str(tmp))
        assert ended.code == 0, ended.said
        assert project.versions() == [("colours", 1)]
        assert {each["status"] for each in project.result()["candidates"]} == {"ok"}
        shell.assert_nothing_is_left()
