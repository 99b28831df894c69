"""Searching for a prompt: `prompt_search` against DSPy's BootstrapFewShotWithRandomSearch.

The same base, rows and number of questions that a search may ask (a few more or less, since neither counts
ahead). DSPy reads the answer off what is written; ours is decided by the likelihood of each label, which
writes nothing: the comparison is of two tools as they are, not of two ways to choose among prompts.

    python benchmarks/prompt_search_vs_dspy.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import heading, peers_python, read_rows, rows_folder, show, work
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base

INSTRUCTION = "Which intent does the message have?"


@dataclass(frozen=True)
class Size:
    """Rows to search on and as many to show, test rows, demonstrations at most, and prompts to try."""

    rows: int
    test: int
    shots: int
    prompts: int


FULL, QUICK = Size(32, 60, 8, 5), Size(16, 16, 4, 4)


def job_of(size: Size, threads: int) -> dict[str, Any]:
    train, test = (
        [(row["text"], row["intent"]) for row in read_rows(rows_folder("clinc150_20") / f"{split}.jsonl")]
        for split in ("train", "test")
    )
    labels = sorted({intent for _, intent in train})
    return {
        "threads": threads,
        "instruction": INSTRUCTION,
        "labels": labels,
        "train": train[: size.rows],
        "validation": train[size.rows : 2 * size.rows],
        "test": test[: size.test],
    }


def measure(size: Size, threads: int, folder: Path) -> dict[str, Any]:
    job, base = job_of(size, threads), resolve_base(DEFAULT_BASE, Path())
    # Some of ours are given up before their last rows, so that we may try one more.
    settings = {"trials": size.prompts, "shots": size.shots, "rows": max(size.rows, 16)}
    ours = {**job, "base": base.name, "settings": settings}
    theirs = {**job, "base": base.path, "shots": size.shots, "programs": size.prompts}
    return {
        "Stepladder": work(sys.executable, "ours/search_prompt.py", ours, folder / "ours"),
        "DSPy": work(peers_python(), "peers/search_dspy.py", theirs, folder / "peer"),
    }


def line(side: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        side,
        f"{fmean(result['right']):.3f}",
        f"{result['searched']:.3f}",
        f"{result['tried']}",
        f"{result['calls']}",
        f"{result['seconds']:.0f}",
        f"{result['cpu_seconds']:.0f}",
        f"{result['peak_gigabytes']:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="16 rows of each split, 4 prompts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of either side")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as temporary:
        results = measure(size, arguments.threads, Path(temporary))
    versions = {name: each for result in results.values() for name, each in result["versions"].items()}
    heading("A prompt searched: Stepladder against DSPy", versions)
    show(
        ("side", "test accuracy", "where searched", "prompts", "questions", "seconds", "CPU s", "peak GB"),
        [line(side, result) for side, result in results.items()],
    )


if __name__ == "__main__":
    main()
