"""What becomes of a run that torchrun has started on several machines when one of them is lost."""

import json
import time

import psutil
import pytest
from ports import free_port
from real_run import make_project, wait_until
from torchruns import RUN, assert_fitted_as_alone, start, start_machines, write_config

pytestmark = pytest.mark.faults


@pytest.fixture
def project(tmp_path, base_folder):
    project = make_project(tmp_path, base_folder)
    write_config(project, base_folder, "[{lora: {rank: 2, epochs: 20, batch_size: 8}}]")
    return project


def a_checkpoint(project):
    return list(project.runs.glob("steps/fit-*.scratch/training-*/step-*/manifest.json"))


def candidates(project):
    return {each["id"]: each for each in project.result()["candidates"]}


def test_a_machine_that_is_lost_fails_the_fit_and_another_number_goes_on(project):
    first, second = start_machines(project, 2)
    first.read_until("fit lora …")
    wait_until(lambda: a_checkpoint(project), "a checkpoint", 120)
    lost = time.monotonic()
    second.kill()
    first.read_until("✗ fit lora")
    assert time.monotonic() - lost < 30
    ended = first.wait()
    assert "process 2 of 2" in ended.said
    assert "has not been heard of for 15 s" in ended.said
    assert ended.code == 1  # it was the only candidate
    (again,) = start_machines(project, 1, each=3)
    assert again.wait().code == 0, again.lines
    assert any("continuing at step" in line for line in again.lines)
    project.assert_nothing_is_left()


def test_two_processes_of_a_machine_hold_shards(project, base_folder, on_the_cpu):
    write_config(project, base_folder, "[{full: {epochs: 1, batch_size: 8, learning_rate: 0.001}}]")
    (both,) = start_machines(project, 1, each=2)
    assert both.wait().code == 0, both.lines
    assert_fitted_as_alone(project, "full", {"processes": 2, "sharded": True})
    project.assert_nothing_is_left()


def test_when_the_first_is_lost_all_end(project):
    first, second = start_machines(project, 2)
    first.read_until("fit lora …")
    wait_until(lambda: a_checkpoint(project), "a checkpoint", 120)
    run = next(
        each for each in psutil.Process(first.process.pid).children() if "colours.yaml" in each.cmdline()
    )
    run.kill()
    assert first.wait().code == 1
    assert second.wait().code == 1
    wait_until(lambda: not project.processes(), "orphans", 30)


def test_another_number_of_devices_is_refused(project):
    with (project.folder / "colours.yaml").open("a") as file:
        file.write("devices: 4\n")
    (one,) = start_machines(project, 1, each=2)
    ended = one.wait()
    assert ended.code == 1
    assert "devices: 4: torchrun has started 2 processes" in ended.said
    assert not project.processes()


def test_runs_in_another_folder_are_told(project):
    port = free_port()
    first = start(project, 0, 2, 1, port, RUN, {})
    second = start(project, 1, 2, 1, port, (*RUN, "--runs", "elsewhere"), {})
    said = first.wait().said
    assert "start the same command on all machines" in said
    assert second.wait().code == 1
    errors = json.dumps([each["error"] for each in candidates(project).values()])
    assert str(project.folder / "elsewhere") in errors
