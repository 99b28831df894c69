"""Slots of devices that are only said to be there: the locks and those who hold them are real."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stepladder.core.errors import StepError
from stepladder.core.training.children import Children
from stepladder.core.training.devices import ON_A_DEVICE, device_for, devices

KINDS = Path(__file__).parent / "kinds"
STEPS = Path(__file__).parents[3] / "core" / "steps"
HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stepladder.core.training.children import Children
folder = Path(sys.argv[2])
folder.mkdir()
Children(kinds="held", preload=()).run("fit", {}, folder, lambda line: print(line, flush=True))
"""


@pytest.fixture
def two_devices(monkeypatch, tmp_path):
    monkeypatch.setenv("STEPLADDER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STEPLADDER_DEVICES", "4, GPU-7")


@pytest.mark.parametrize(
    ("named", "visible", "found"),
    [("2,3", "0", ["2", "3"]), ("", "0", []), (None, "1", ["1"]), (None, "-1", []), (None, "", [])],
)
def test_the_environment_says_which_devices_there_are(monkeypatch, named, visible, found):
    monkeypatch.delenv("STEPLADDER_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("STEPLADDER_DEVICES", named)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices() == found


def test_a_step_without_a_model_takes_no_device(two_devices):
    for _ in range(3):
        with device_for("read", pytest.fail, lambda: False) as environment:
            assert environment == {}


def test_each_step_that_opens_a_base_takes_a_device():
    opens = {path.stem for path in STEPS.glob("*.py") if "open_base" in path.read_text()}
    assert {"fit", "evaluate", "retention"} <= opens
    assert opens - {"candidate"} <= set(ON_A_DEVICE)


def test_a_fit_may_have_several_devices(two_devices):
    said = []
    with device_for("fit", pytest.fail, lambda: False, 2) as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "4,GPU-7"}
        for number in (1, 2):
            with (
                pytest.raises(StepError, match="stopped"),
                device_for("fit", lambda: said.append("waiting"), lambda: True, number),
            ):
                pytest.fail("both are taken")
    assert said == ["waiting", "waiting"]
    with device_for("fit", pytest.fail, lambda: False, 2):
        pass  # given back


def test_machines_that_share_a_home_have_devices_of_their_own(two_devices, monkeypatch):
    with device_for("fit", pytest.fail, lambda: False, 2):
        monkeypatch.setattr("stepladder.core.training.devices._machine", lambda: "another")
        with device_for("fit", pytest.fail, lambda: False, 2) as environment:
            assert environment == {"CUDA_VISIBLE_DEVICES": "4,GPU-7"}


def test_more_devices_than_there_are_is_told(two_devices):
    with (
        pytest.raises(StepError, match=r"devices: 3.*found 2 \(4, GPU-7\)"),
        device_for("fit", pytest.fail, lambda: False, 3),
    ):
        pytest.fail("there are two")


def test_a_killed_run_gives_its_device_back(two_devices, tmp_path):
    def start(name):
        command = [sys.executable, "-c", HOLDER, str(KINDS), str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    holders = [start("first")]
    try:
        assert holders[0].stdout.readline() == "sees 4\n"
        holders.append(start("second"))
        assert holders[1].stdout.readline() == "sees GPU-7\n"
        holders.append(start("third"))
        assert "waiting: every device of this machine is taken" in holders[2].stdout.readline()
        os.kill(holders[0].pid, signal.SIGKILL)
        assert holders[2].stdout.readline() == "sees 4\n"
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_a_run_that_is_stopped_waits_no_longer(two_devices, monkeypatch, tmp_path):
    monkeypatch.setenv("STEPLADDER_DEVICES", "0")
    children, said, ended = Children(kinds="held", preload=()), threading.Event(), []

    def wait_for_a_device():
        try:
            children.run("fit", {}, tmp_path, lambda line: said.set())
        except StepError as error:
            ended.append(str(error))

    with device_for("fit", pytest.fail, lambda: False):
        thread = threading.Thread(target=wait_for_a_device)
        thread.start()
        assert said.wait(20)
        children.stop()
        thread.join(20)
    assert ended == ["fit: not started, since the run has been stopped"]
