"""What replay keeps: full fine-tuning at a high rate, with and without ordinary text in each batch.

    STEPLADDER_TEST_DATA=... python benchmarks/forgetting.py [--arms alone,replay,self] [--seeds 0,1,2]

The same rows, seeds and steps in each arm; `replay` takes the text from one half of the articles, and what is
forgotten is measured on the other half. Exits with 1 where a share of 0.1 does not cut the rise of the retain
text's perplexity by at least half, or costs more than 0.01 of accuracy, means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from common import heading, read_rows, rows_folder, show

HERE = Path(__file__).resolve().parent
SHARE = 0.1
Candidate = Mapping[str, Any]
COLUMNS = ("arm", "seed", "accuracy", "perplexity", "forgetting", "task tokens", "replay tokens", "train s")


def halves(folder: Path) -> tuple[Path, Path]:
    """Text to replay, and text to be retained, of different articles."""
    rows = read_rows(rows_folder("wikitext2") / "train.jsonl")
    titles = list(dict.fromkeys(row["title"] for row in rows))
    replayed = set(titles[: len(titles) // 2])
    paths = folder / "replay.jsonl", folder / "retain.jsonl"
    for path, wanted in zip(paths, (True, False), strict=True):
        lines = [json.dumps({"text": row["text"]}) for row in rows if (row["title"] in replayed) is wanted]
        path.write_text("\n".join(lines) + "\n")
    return paths


def run(arm: str, folder: Path, seeds: Sequence[int]) -> list[Candidate]:
    """The candidates of one arm, one for each seed."""
    replay, retain = halves(folder)
    rows = rows_folder("clinc150_20")
    settings = [f"name=forgetting-{arm}", f"retain.text={retain}", f"methods.full.seed={list(seeds)}"]
    settings += [f"data.{split}={rows / split}.jsonl" for split in ("train", "test")]
    if arm != "alone":
        source = "self" if arm == "self" else replay
        settings += [f"replay.source={source}", f"replay.share={SHARE}"]
    command = [Path(sys.executable).with_name("stepladder"), "run", HERE / "forgetting.yaml"]
    flags = [part for setting in settings for part in ("--set", setting)]
    subprocess.run([*command, "--engine", "inline", "--runs", folder / "runs", *flags], check=True)
    newest = max(folder.glob(f"runs/forgetting-{arm}-*/result.json"), key=lambda path: path.stat().st_mtime)
    candidates: list[Candidate] = json.loads(newest.read_text())["candidates"]
    return candidates


def accuracy(candidate: Candidate) -> float:
    return float(candidate["metrics"]["accuracy"]["value"])


def forgetting(candidate: Candidate) -> float:
    return float(candidate["retention"]["forgetting"])


def line(arm: str, candidate: Candidate) -> list[str]:
    retention, cost = candidate["retention"], candidate["cost"]
    return [
        arm,
        str(candidate["settings"]["seed"]),
        f"{accuracy(candidate):.3f}",
        f"{retention['perplexity_before']:.2f} to {retention['perplexity_after']:.2f}",
        f"{forgetting(candidate):+.1%}",
        f"{cost['trained_tokens']:,}",
        f"{cost['replay_tokens']:,}",
        f"{cost['train_seconds']:.0f}",
    ]


def reached(alone: Sequence[Candidate], replay: Sequence[Candidate]) -> bool:
    """Whether replay keeps what it should, at the same task tokens."""
    kept = mean(map(forgetting, replay)) <= mean(map(forgetting, alone)) / 2
    same = abs(mean(map(accuracy, replay)) - mean(map(accuracy, alone))) <= 0.01
    tokens = [[each["cost"]["trained_tokens"] for each in arm] for arm in (alone, replay)]
    return kept and same and tokens[0] == tokens[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--arms", default="alone,replay")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--folder", type=Path, default=Path("runs/forgetting"))
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    arms = {arm: run(arm, folder, seeds) for arm in given.arms.split(",")}
    heading("Forgetting, with and without replay", {"share": str(SHARE)})
    show(COLUMNS, [line(arm, each) for arm, candidates in arms.items() for each in candidates])
    for arm, candidates in arms.items():
        print(f"{arm}: {mean(map(accuracy, candidates)):.3f}, {mean(map(forgetting, candidates)):+.1%}")
    return 0 if not {"alone", "replay"} <= set(arms) or reached(arms["alone"], arms["replay"]) else 1


if __name__ == "__main__":
    sys.exit(main())
