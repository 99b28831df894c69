"""Two machines, as far as torchrun knows, fit what one process fits alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from stepladder.core.errors import InputError
from stepladder.core.training.devices import wanted
from stepladder.core.training.torchrun import LEADS, torchrun
from stepladder.flows.torchrun import one_of_several, require_devices, require_run

sys.path.insert(0, str(Path(__file__).parents[1] / "faults" / "helpers"))
from real_run import make_project
from torchruns import assert_fitted_as_alone, start_machines, write_config


@pytest.mark.faults
def test_two_machines_fit_what_one_process_fits_alone(
    tmp_path: Path, base_folder: Path, on_the_cpu: None
) -> None:
    project = make_project(tmp_path, base_folder)
    write_config(project, base_folder, methods="[{lora: {rank: 2, epochs: 1, batch_size: 8}}]")
    first, second = [each.wait() for each in start_machines(project, 2)]
    assert (first.code, second.code) == (0, 0), first.said + second.said
    told = [line for line in second.said.splitlines() if line.startswith("stepladder: ")]
    assert [line.partition(", on ")[0] for line in told] == [
        "stepladder: process 2 of 2",
        "stepladder: process 2 of 2: the run is over",
    ]
    assert_fitted_as_alone(project, "lora", {"processes": 2})
    project.assert_nothing_is_left()


@pytest.fixture
def in_torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of the second of four processes, two on each machine."""
    told = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    elastic = {"RUN_ID": "none", "RESTART_COUNT": "0", "USE_AGENT_STORE": "True"}
    for name, value in (told | {f"TORCHELASTIC_{each}": elastic[each] for each in elastic}).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_what_torchrun_says(in_torchrun: pytest.MonkeyPatch) -> None:
    at = torchrun()
    assert at is not None
    assert (at.rank, at.of, at.here, at.address, at.port) == (1, 4, 2, "a", 1)
    in_torchrun.delenv("TORCHELASTIC_RUN_ID")
    assert torchrun() is None


def test_a_config_may_not_ask_for_other_processes_than_there_are(in_torchrun: pytest.MonkeyPatch) -> None:
    for number in (1, 4):
        require_devices({"devices": number})
    with pytest.raises(InputError, match="devices: 3: torchrun has started 4 processes"):
        require_devices({"devices": 3})


def test_each_process_of_torchrun_takes_a_device_of_its_own(in_torchrun: pytest.MonkeyPatch) -> None:
    assert wanted("fit", {"config": {"devices": 4}}) == 4
    in_torchrun.setenv(LEADS, "run")
    assert wanted("fit", {"config": {"devices": 4}}) == 1


def test_what_cannot_be_shared_is_refused(in_torchrun: pytest.MonkeyPatch) -> None:
    require_run("run")
    with pytest.raises(InputError, match="curve: torchrun has started it 4 times"):
        require_run("curve")
    with pytest.raises(InputError, match="--cluster"):
        one_of_several("tcp://127.0.0.1:8786")
    in_torchrun.setenv("STEPLADDER_DEVICES", "0")
    with pytest.raises(InputError, match=r"--nproc-per-node 2: this machine has 1 device\b"):
        one_of_several(None)
    in_torchrun.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    with pytest.raises(InputError, match="expected --rdzv-backend c10d or static"):
        torchrun()
