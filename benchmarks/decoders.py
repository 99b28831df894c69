"""Runs decoders.yaml through the command, and prints score against tokens spent as Markdown.

    python benchmarks/decoders.py [--runs DIR]

No peer: what is compared is greedy decoding with best of N and a beam that a JSON schema judges.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common import HERE

METRICS = ("json_valid", "json_fields", "exact_match")


def run(runs: Path) -> dict[str, Any]:
    """The result of the run."""
    stepladder = Path(sys.executable).with_name("stepladder")
    command = [stepladder, "run", HERE / "decoders.yaml", "--engine", "inline", "--runs", runs]
    subprocess.run(command, check=True, stdout=sys.stderr)
    newest = max(runs.glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    result: dict[str, Any] = json.loads(newest.read_text())
    return result


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    columns = ["candidate", "tokens written a row", *METRICS, "not judged"]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for each in result["candidates"]:
        yield f"| {' | '.join(cells(each))} |"


def cells(candidate: Mapping[str, Any]) -> list[str]:
    cost = candidate["cost"]
    if candidate["status"] != "ok":
        return [f"`{candidate['id']}`", candidate["status"]]
    return [
        f"`{candidate['id']}`",
        f"{cost['written_tokens_per_row']:.1f}",
        *("{value:.3f} ({low:.3f} to {high:.3f})".format(**candidate["metrics"][name]) for name in METRICS),
        f"{sum((candidate.get('scorer_faults') or {}).values())}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    print("\n".join(lines(run(parser.parse_args().runs))))


if __name__ == "__main__":
    main()
