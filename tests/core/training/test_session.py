"""Processes that meet in a store such as torchrun's, which this test keeps; they are forked here."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from stepladder.core.errors import StepError
from stepladder.core.training import session, together
from stepladder.core.training.failures import ProcessFailed
from stepladder.core.training.follow import follow
from stepladder.core.training.lead import launch_led, lead
from stepladder.core.training.torchrun import LEADS, Torchrun
from torch.distributed import TCPStore

FORK = multiprocessing.get_context("fork")
# What each process does with a spec of that name; `total` is computed by all of them.
WORK: dict[str, Callable[[], Any]] = {
    "sum": lambda: None,
    "raise": lambda: raise_(StepError("no row is left")),
    "break": lambda: raise_(KeyError("colour")),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "gone": lambda: os.killpg(0, signal.SIGKILL),
    "hang": lambda: threading.Event().wait(),
}


def raise_(error: Exception) -> None:
    raise error


def work(spec: Path, folder: Path) -> dict[str, Any]:
    """What the spec names is done by all but the first process."""
    (spec.parent / f"{together.rank()}.pid").write_text(str(os.getpid()))
    if together.rank():
        WORK[json.loads(spec.read_text())]()
    return {"total": together.total(1.0 + together.rank())[0], "processes": together.processes()}


class Company:
    """The processes of one torchrun on two machines, of which this one is the first."""

    def __init__(self, folder: Path, port: int, of: int) -> None:
        self.folder, self.of, self._port, self._fits = folder, of, port, 0
        self.over = folder / "over"
        self.lead = self._start(lead, self.at(0), "run", self.over)
        self.others = [self._start(self._follow, rank) for rank in range(1, of)]

    def at(self, rank: int) -> Torchrun:
        return Torchrun(rank, self.of, 1, 0, "127.0.0.1", self._port)

    def fit(self, what: str) -> dict[str, Any]:
        self._fits += 1
        step = self.folder / "runs" / "steps" / f"fit-{self._fits}.partial"
        step.mkdir(parents=True)
        spec = step / "spec.json"
        spec.write_text(json.dumps(what))
        return launch_led(self.at(0), lambda folder: work(spec, folder), step, spec)

    def end(self) -> list[int | None]:
        """How the others end once the run has ended with 3."""
        (self.folder / "over.new").write_text("3")
        (self.folder / "over.new").rename(self.over)
        for process in (*self.others, self.lead):
            process.join(60)
        return [process.exitcode for process in self.others]

    def _follow(self, rank: int) -> None:
        os.setpgid(0, 0)
        os._exit(follow(self.at(rank), self.folder / "runs", work, self.folder / f"of-{rank}"))

    def _start(self, target: Callable[..., Any], *given: Any) -> ForkProcess:
        process = FORK.Process(target=target, args=given)
        process.start()
        return process


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Company]]:
    monkeypatch.setenv(LEADS, "run")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("STEPLADDER_DEVICES", "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("stepladder.core.training.session.SILENT_SECONDS", 5.0)
    monkeypatch.setattr("stepladder.core.training.lead.SILENT_SECONDS", 5.0)
    torch.set_num_threads(1)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    companies: list[Company] = []

    def make(of: int = 2) -> Company:
        companies.append(Company(tmp_path, store.port, of))
        return companies[-1]

    yield make
    for each in companies:
        for process in (*each.others, each.lead):
            process.kill()
            process.join()


def test_all_take_part_in_one_fit_after_the_other_and_end_as_the_run_does(company):
    three = company(3)
    for _ in range(2):
        assert three.fit("sum") == {"total": 6.0, "processes": 3}
    assert three.end() == [3, 3]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise", r"^process 2 of 2 \(on .+\): no row is left$"),
        ("break", r"^process 2 of 2 \(on .+\): KeyError: 'colour'$"),
        ("killed", r"^process 2 of 2 \(on .+\) was killed by SIGKILL$"),
    ],
)
def test_what_fails_elsewhere_fails_the_fit_and_the_next_one_is_done(company, what, said, capfd):
    two = company()
    with pytest.raises(ProcessFailed, match=said):
        two.fit(what)
    assert two.fit("sum")["total"] == 3.0
    assert two.end() == [3]
    elsewhere = re.search(r"^process 2 of 2 \(on .+\):\nTraceback", capfd.readouterr().err, re.MULTILINE)
    assert bool(elsewhere) == (what == "break")


def test_a_process_that_is_gone_with_its_machine_fails_the_fit(company):
    two = company()
    with pytest.raises(ProcessFailed, match=r"^process 2 of 2 \(on .+\) has not been heard of for 5 s"):
        two.fit("gone")


def test_who_follows_ends_when_the_run_is_gone(company, tmp_path):
    two = company()
    (fit := FORK.Process(target=two.fit, args=("hang",))).start()
    while not (pids := list(tmp_path.glob("runs/steps/*/1.pid"))) or not pids[0].read_text():
        assert fit.is_alive()
        fit.join(0.05)
    part = psutil.Process(int(pids[0].read_text()))
    for process in (two.lead, fit):
        process.kill()
        process.join()
    two.others[0].join(60)
    assert two.others[0].exitcode == 1
    assert not part.is_running() or part.status() == psutil.STATUS_ZOMBIE


def test_a_folder_that_another_machine_cannot_see_is_told(company, monkeypatch, tmp_path):
    monkeypatch.setattr("stepladder.core.training.follow.SEE_SECONDS", 0.5)
    two = company()
    monkeypatch.setattr("stepladder.core.training.lead.sha256", lambda path: "0" * 64)
    with pytest.raises(
        ProcessFailed, match=r"cannot see what .*must be on a file system that all machines share"
    ):
        two.fit("sum")


def test_machines_that_differ_are_told(company, monkeypatch):
    two = company()
    monkeypatch.setenv("STEPLADDER_DEVICES", "0")
    monkeypatch.setenv(LEADS, "run")
    with pytest.raises(
        StepError, match=r"process 2 of 2 \(on .+\) cannot take part: devices: False, where the"
    ):
        two.fit("sum")


def test_a_store_that_is_gone_is_told(company, monkeypatch):
    monkeypatch.setattr(session, "ANSWER", session.timedelta(seconds=1))
    with pytest.raises(StepError, match=r"torchrun's store at 127.0.0.1:1 is gone"):
        follow(Torchrun(1, 2, 1, 0, "127.0.0.1", 1), Path("runs"), work, Path("nowhere"))
