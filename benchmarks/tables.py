"""Runs the ladder on other rows, tasks and bases through the command, and prints each table as Markdown.

    STEPLADDER_TEST_DATA=... python benchmarks/tables.py [NAME ...]    # of benchmarks/tables/; default: all

The rows of a table are those of the data's folder in its config's name; forgetting is measured on wikitext2.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from common import HERE, rows_folder

STEPLADDER = Path(sys.executable).with_name("stepladder")
TABLES = HERE / "tables"
DATA = {"movie_sentiment_encoder": "movie_sentiment"}


def run(config: Path, rows: str, runs: Path) -> dict[str, Any]:
    """The result of the run of a config on the rows of that name."""
    data = rows_folder(rows)
    places = [f"data.{split}={data / split}.jsonl" for split in ("train", "test")]
    if "retain" in yaml.safe_load(config.read_text()):
        places.append(f"retain.text={rows_folder('wikitext2') / 'test.jsonl'}")
    command = [STEPLADDER, "run", config, "--engine", "inline", "--runs", runs]
    subprocess.run([*command, *(f"--set={place}" for place in places)], check=True, stdout=sys.stderr)
    newest = max(runs.glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    result: dict[str, Any] = json.loads(newest.read_text())
    return result


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The table of one run."""
    candidates = [each for each in result["candidates"] if each["status"] == "ok"]
    metrics = [name for name in candidates[0]["metrics"] if name != "calibration_error"]
    columns = ["candidate", *metrics, "forgetting", "trainable", "trained tokens", "fit s", "answer s"]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for each in candidates:
        yield f"| {' | '.join(cells(each, metrics))} |"
    yield f"\nChosen: {result['choice']['id']}. {result['choice']['reason']}"


def cells(candidate: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    retention, cost = candidate["retention"], candidate["cost"]
    return [
        f"`{candidate['id']}`",
        *(figure(candidate["metrics"][name]) for name in metrics),
        f"{retention['forgetting']:+.1%}" if retention else "",
        f"{cost['trainable_parameters']:,}",
        f"{cost['trained_tokens']:,}",
        f"{cost['fit_seconds']:.0f}",
        f"{cost['evaluate_seconds']:.0f}",
    ]


def figure(interval: Mapping[str, float]) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**interval)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(path.stem for path in TABLES.glob("*.yaml")))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    for name in arguments.names:
        print(f"\n### {name}\n")
        print(
            "\n".join(lines(run(TABLES / f"{name}.yaml", DATA.get(name, name), arguments.runs))), flush=True
        )


if __name__ == "__main__":
    main()
