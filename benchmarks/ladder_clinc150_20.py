"""Runs four rungs on clinc150_20 through the command, and prints their test accuracies, means over seeds.

    STEPLADDER_TEST_DATA=... python benchmarks/ladder_clinc150_20.py

Exits with 1 where linear_probe is under 0.90, lora under 0.89, or few_shot no better than zero_shot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

HERE = Path(__file__).parent
FLOORS = {"linear_probe": 0.90, "lora": 0.89}


def run(runs: Path, data: Path) -> dict[str, list[float]]:
    """Test accuracies of each method, one for each seed."""
    command = Path(sys.executable).with_name("stepladder")
    rows = [f"--set=data.{split}={data / split}.jsonl" for split in ("train", "test")]
    arguments = ["run", HERE / "clinc150_20.yaml", "--engine", "inline", "--runs", runs, *rows]
    subprocess.run([command, *arguments], check=True)
    newest = max(runs.glob("clinc150-20-*/result.json"), key=lambda path: path.stat().st_mtime)
    accuracies = defaultdict(list)
    for candidate in json.loads(newest.read_text())["candidates"]:
        accuracies[candidate["method"]].append(candidate["metrics"]["accuracy"]["value"])
    return accuracies


def main() -> int:
    data = os.environ.get("STEPLADDER_TEST_DATA")
    if not data:
        print("skipped: STEPLADDER_TEST_DATA names no folder with clinc150_20")
        return 0
    accuracies = run(Path("runs"), Path(data) / "clinc150_20")
    for method, values in accuracies.items():
        print(f"{method:13} {mean(values):.3f}  ({', '.join(f'{value:.3f}' for value in values)})")
    climbs = mean(accuracies["few_shot"]) > mean(accuracies["zero_shot"])
    reached = all(mean(accuracies[method]) >= floor for method, floor in FLOORS.items())
    return 0 if climbs and reached else 1


if __name__ == "__main__":
    sys.exit(main())
