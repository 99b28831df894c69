"""Two machines, as far as torchrun knows, fit what one process fits alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stepladder.core.errors import InputError
from stepladder.core.steps import fit
from stepladder.core.training.devices import wanted
from stepladder.core.training.torchrun import LEADS, torchrun
from stepladder.flows.torchrun import one_of_several, require_devices, require_run

sys.path.insert(0, str(Path(__file__).parents[1] / "faults" / "helpers"))
from real_run import make_project
from torchruns import start_machines, write_config

TIMED = ("tokens_per_second", "seconds_left")


def fits(runs: Path) -> dict[str, Path]:
    """The folder of each candidate's fit."""
    specs = {path.parent: json.loads(path.read_text()) for path in runs.glob("steps/fit-*/spec.json")}
    return {spec["candidate"]["id"]: folder for folder, spec in specs.items()}


def fit_alone(fitted: Path, folder: Path) -> Path:
    """The same fit once more, in this process."""
    spec = json.loads((fitted / "spec.json").read_text())
    folder.mkdir()
    fit.run({**spec, "scratch": str(folder / "scratch")}, folder)
    return folder


def curves(fit: Path) -> list[Any]:
    points = [json.loads(line) for line in (fit / "progress.jsonl").read_text().splitlines()]
    return [{name: each[name] for name in each if name not in TIMED} for each in points]


def weights(fit: Path) -> dict[str, torch.Tensor]:
    (path,) = (fit / "artifact").glob("*.safetensors")
    return load_file(path)


def test_two_machines_fit_what_one_process_fits_alone(
    tmp_path: Path, base_folder: Path, on_the_cpu: None
) -> None:
    project = make_project(tmp_path, base_folder)
    write_config(project, base_folder)
    first, second = [each.wait() for each in start_machines(project, 2)]
    assert (first.code, second.code) == (0, 0), first.said + second.said
    told = [line for line in second.said.splitlines() if line.startswith("stepladder: ")]
    assert [line.partition(", on ")[0] for line in told] == [
        "stepladder: process 2 of 2",
        "stepladder: process 2 of 2: the run is over",
    ]
    by_both = fits(project.runs)
    for name, notes in (("lora", {"processes": 2}), ("full", {"processes": 2, "sharded": True})):
        assert json.loads((by_both[name] / "result.json").read_text())["notes"] == notes
        alone = fit_alone(by_both[name], tmp_path / name)
        for point, expected in zip(curves(by_both[name]), curves(alone), strict=True):
            assert point == pytest.approx(expected, rel=1e-5)
        found = weights(by_both[name])
        for tensor, weight in weights(alone).items():
            assert torch.allclose(found[tensor], weight, atol=1e-5), (name, tensor)
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
