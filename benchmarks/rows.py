"""Prepares 10 thousand, 100 thousand and a million rows, and measures time and anonymous memory of each step.

    STEPLADDER_TEST_DATA=... python benchmarks/rows.py          # about half an hour on two cores
    STEPLADDER_TEST_DATA=... python benchmarks/rows.py --quick  # 2 and 20 thousand rows

The rows are Alpaca's, again and again, each with a number of its own in front. There is no peer: the goals
are that a row takes as long among a million as among fewer, and that memory does not grow with the rows.
Exits with 1 where a row takes 1.3 times the CPU seconds (wall seconds are shown, but depend on what else the
machine does), where memory grows by 300 MB, or where rows are lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from common import HERE, heading, read_rows, rows_folder, show
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (2_000, 20_000)
OTHER_ROWS = 1_000
POLL_SECONDS = 0.1
SLOWER, GROWTH_MB = 1.3, 300


@dataclass(frozen=True)
class Measured:
    """One step on so many rows: wall and processor seconds, peak of anonymous memory in MB."""

    step: str
    rows: int
    seconds: float
    cpu_seconds: float
    peak_mb: float

    def cells(self) -> list[str]:
        return [
            self.step,
            f"{self.rows:,}",
            f"{self.seconds:.1f}",
            f"{self.cpu_seconds:.1f}",
            f"{self.rows / self.seconds:,.0f}",
            f"{self.peak_mb:.0f}",
        ]


# --- the rows ---


def numbered(rows: Sequence[Mapping[str, str]], count: int, word: str) -> Iterator[dict[str, str]]:
    for number, row in enumerate(islice(cycle(rows), count)):
        yield {**row, "instruction": f"{word} {number}: {row['instruction']}"}


def write_others(folder: Path) -> dict[str, str]:
    """The rows of validation and test."""
    rows = read_rows(rows_folder("alpaca") / "test.jsonl")
    for split in ("validation", "test"):
        with (folder / f"{split}.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in numbered(rows, OTHER_ROWS, split))
    return {split: str(folder / f"{split}.jsonl") for split in ("validation", "test")}


def write_rows(rows: Sequence[Mapping[str, str]], count: int, folder: Path) -> dict[str, str]:
    """The same rows in each form; returns their places."""
    names = {form: folder / f"train-{count}.{form}" for form in ("jsonl", "csv", "parquet")}
    schema = pa.schema([(name, pa.string()) for name in ("instruction", "input", "output")])
    with (
        names["jsonl"].open("w") as lines,
        pa.csv.CSVWriter(names["csv"], schema) as csv,
        pq.ParquetWriter(names["parquet"], schema) as parquet,
    ):
        made = numbered(rows, count, "train")
        while part := list(islice(made, 10_000)):
            lines.writelines(json.dumps(row) + "\n" for row in part)
            table = pa.Table.from_pylist(part, schema=schema)
            csv.write(table)
            parquet.write(table)
    return {form: str(path) for form, path in names.items()}


# --- the steps ---


def measure(step: str, job: Mapping[str, Any], count: int, folder: Path) -> Measured:
    """Run one step in the new `folder`. Ends the benchmark where it fails, and where rows are lost."""
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job))
    with (folder / "log.txt").open("w") as log:
        script = HERE / "ours" / "prepare_rows.py"
        process = psutil.Popen([sys.executable, script], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, anonymous_mb(process))
            time.sleep(POLL_SECONDS)
    if process.returncode:
        sys.exit(f"{step} failed:\n{(folder / 'log.txt').read_text()[-4000:]}")
    result = json.loads((folder / "result.json").read_text())
    if result["kept"] != count:
        sys.exit(f"{step}: {result['kept']} of {count} rows were kept")
    return Measured(step, count, result["seconds"], result["cpu_seconds"], peak)


def anonymous_mb(process: psutil.Process) -> float:
    """Of the process and all that it has started; pages that several share count once."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            lines = Path(f"/proc/{each.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon"))
    return total / 1024


def steps(
    count: int, places: Mapping[str, str], others: Mapping[str, str], folder: Path
) -> Iterator[Measured]:
    base = resolve_base(DEFAULT_BASE, Path()).to_json()

    def job(step: str, train: str, processes: int = 0, **data: Any) -> dict[str, Any]:
        config = {"task": "generate", "data": {"train": train, **others, "max_bad": 0, **data}}
        needs = {"read": str(folder / "read-jsonl" / "out")}
        return {
            "step": step,
            "processes": processes,
            "spec": {"config": config, "base": base, "needs": needs},
        }

    for form, place in places.items():
        yield measure(f"read {form}", job("read", place), count, folder / f"read-{form}")
    yield measure("render", job("render", places["jsonl"]), count, folder / "render")
    if count == 100_000:
        yield measure("render, 1 process", job("render", places["jsonl"], 1), count, folder / "render-1")
        near = {"near_duplicates": 0.8}
        for name, processes in (("read jsonl, near-duplicates", 0), ("the same, 1 process", 1)):
            made = job("near-duplicates", places["jsonl"], processes, **near)
            yield measure(name, made, count, folder / f"near-{processes}")


# --- what is to be shown ---


def conclude(measured: Sequence[Measured]) -> int:
    """The verdict on each step, the largest size against the one before; 1 where a goal is missed."""
    missed = 0
    for step in dict.fromkeys(each.step for each in measured):
        sizes = [each for each in measured if each.step == step]
        if len(sizes) < 2:
            continue
        few, many = sizes[-2:]
        slower = (many.cpu_seconds / many.rows) / (few.cpu_seconds / few.rows)
        growth = many.peak_mb - sizes[0].peak_mb
        missed += slower > SLOWER or growth > GROWTH_MB
        print(f"{step}: a row takes {slower:.2f} times the CPU seconds, memory grows by {growth:.0f} MB")
    return 1 if missed else 0


def main() -> int:
    sizes = QUICK_SIZES if "--quick" in sys.argv else SIZES
    rows = read_rows(rows_folder("alpaca") / "train.jsonl")
    measured: list[Measured] = []
    heading("Preparation of rows", {"pyarrow": pa.__version__})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        others = write_others(folder)
        for count in sizes:
            places = write_rows(rows, count, folder)
            with tempfile.TemporaryDirectory(dir=folder) as work:
                for each in steps(count, places, others, Path(work)):
                    print(" ".join(each.cells()), flush=True)
                    measured.append(each)
            for place in places.values():
                Path(place).unlink()
    show(("step", "rows", "s", "CPU s", "rows/s", "peak MB"), [each.cells() for each in measured])
    return conclude(measured)


if __name__ == "__main__":
    sys.exit(main())
