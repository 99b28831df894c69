"""A whole run, by real steps, whose candidates are fitted by two processes each as far as they can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIG = """
name: colours
base: {base}
task: classify
data:
  train: rows.jsonl
  test: test.jsonl
  columns: {{input: text, label: colour}}
methods:
  - lora: {{rank: 2, epochs: 1}}
  - full: {{epochs: 1}}
  - linear_probe
devices: 2
shard: true
"""
SCRIPT = "from stepladder.flows.cli import main; main()"


def write_project(folder: Path, base: Path) -> None:
    rows = [
        {"text": f"{owner} {thing} is {shade}{colour}", "colour": colour}
        for owner in ("my", "your", "the")
        for thing in ("car", "house", "door", "paint")
        for shade in ("", "very ", "quite ", "today ")
        for colour in ("red", "blue")
    ]
    for name, part in (("rows", rows[:72]), ("test", rows[72:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "colours.yaml").write_text(CONFIG.format(base=base))


def fits(runs: Path) -> dict[str, Path]:
    """The folder of each candidate's fit."""
    specs = {path.parent: json.loads(path.read_text()) for path in runs.glob("steps/fit-*/spec.json")}
    return {spec["candidate"]["id"]: folder for folder, spec in specs.items()}


def notes(fit: Path) -> Any:
    return json.loads((fit / "result.json").read_text())["notes"]


def test_two_processes_fit_what_the_loop_trains(tmp_path: Path, base_folder: Path) -> None:
    write_project(tmp_path, base_folder)
    environment = {**os.environ, "STEPLADDER_HOME": str(tmp_path / "home"), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", SCRIPT, "run", "colours.yaml", "--engine", "inline"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("runs/colours-*/result.json")
    candidates = json.loads(path.read_text())["candidates"]
    done_well = {each["id"] for each in candidates if each["status"] == "ok"}
    assert done_well == {"lora", "full", "linear_probe"}
    folders = fits(tmp_path / "runs")
    assert notes(folders["lora"]) == {"processes": 2}
    assert notes(folders["full"]) == {"processes": 2, "sharded": True}
    assert notes(folders["linear_probe"]) == {}
    logs = {name: (folder / "log.txt").read_text() for name, folder in folders.items()}
    assert "not in shards: each process holds the whole base" in logs["lora"]
    assert "linear_probe is fitted by one process" in logs["linear_probe"]
