"""A run whose process is killed in the middle of a training goes on: the real command, a real SIGKILL."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from colours import colour_rows, write_splits
from commands import Ended, environment_in, in_turn

EVERY, STEPS, BATCH = 7, 120, 4
CONFIG = """
name: colours
base: {base}
task: classify
data:
  train: train.jsonl
  test: test.jsonl
  validation: validation.jsonl
  columns: {{input: text, label: colour}}
  instruction: which colour is the car ?
methods:
  - lora: {{rank: 2, epochs: 10, batch_size: {batch}}}
checkpoint: {{every: {every}}}
"""
INLINE = ("--engine", "inline")


def lines(path: Path) -> list[Any]:
    """The whole lines; the process that wrote them may have been killed in the middle of one."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    rows = colour_rows()
    write_splits(folder, {"train": rows[:48], "test": rows[48:72], "validation": rows[72:]})
    (folder / "colours.yaml").write_text(CONFIG.format(base=base_folder, every=EVERY, batch=BATCH))
    return folder


def stepladder(folder: Path, commands: Sequence[Sequence[str]]) -> list[Ended]:
    return [*in_turn(dict(enumerate(commands)), folder).values()]


def kill_at(folder: Path, share: float, *arguments: str) -> Path:
    """Run the command and kill it when so much of the training is done; returns the points of its curve."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from stepladder.flows.cli import main; main()", *arguments],
        cwd=folder,
        env=environment_in(folder / "home"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + 300
    while True:
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        found = list(folder.glob("runs/steps/fit-*.scratch/training-1/points.jsonl"))
        if found and sum("loss" in point for point in lines(found[0])) >= share * STEPS:
            break
        time.sleep(0.002)
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=120)
    assert not alive, "children end with their parent"
    return found[0]


def fit_in(runs: Path) -> Path:
    (folder,) = (path for path in (runs / "steps").glob("fit-*") if path.suffix == "")
    return folder


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*.safetensors"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.faults
def test_a_killed_run_goes_on_and_repeats_at_most_one_interval(project):
    points = kill_at(project, 0.6, "run", "colours.yaml", *INLINE)
    trained = {point["step"]: point["trained_tokens"] for point in lines(points) if "loss" in point}
    reached = max(trained)
    assert 0.6 * STEPS <= reached < STEPS
    (run_dir,) = project.glob("runs/colours-*")
    train = project / "train.jsonl"
    whole = train.read_text()
    train.write_text(whole.replace("my car", "my sea"))
    (refused,) = stepladder(project, [["run", "--resume", run_dir.name, *INLINE]])
    assert refused.code == 2
    assert f"--resume {run_dir.name}: it cannot be gone on with" in refused.said
    assert "the train rows" in refused.said
    train.write_text(whole)
    again, uncut = stepladder(
        project,
        [
            ["run", "--resume", run_dir.name, *INLINE, "--set", "limits.minutes=60"],
            ["run", "colours.yaml", *INLINE, "--runs", "uncut"],
        ],
    )
    assert (again.code, uncut.code) == (0, 0), again.said + uncut.said
    went_on = reached // EVERY * EVERY
    assert "✓ read  done before" in again.said and "✓ render  done before" in again.said
    assert f"continuing at step {went_on} of {STEPS} from a checkpoint of " in again.said
    assert f": {trained[went_on]:,} tokens are not trained again" in again.said
    found, expected = fit_in(project / "runs"), fit_in(project / "uncut")
    result, other = (json.loads((each / "result.json").read_text()) for each in (found, expected))
    repeated = trained[reached] - trained[went_on]
    assert result["notes"] == {"resumed_from_step": went_on, "repeated_tokens": repeated}
    per_step = max(trained[step + 1] - trained[step] for step in range(1, reached))
    assert repeated <= EVERY * per_step, "at most one interval"
    assert result["trained_tokens"] == other["trained_tokens"] > trained[reached]
    assert hashes(found / "artifact") == hashes(expected / "artifact") != {}
    assert len(lines(found / "progress.jsonl")) == len(lines(expected / "progress.jsonl"))
    said = [
        next((project / runs / "steps").glob("evaluate-*/predictions.jsonl")).read_bytes()
        for runs in ("runs", "uncut")
    ]
    assert said[0] == said[1]
    assert not list((project / "runs" / "steps").glob("*.scratch")), "nothing is left to go on from"
