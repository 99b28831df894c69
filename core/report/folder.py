"""The files of a run's folder that are not steps' own: its config, where each value came from, its graph."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CONFIG, RUN, GRAPH, RESULT, PAGE = "config.yaml", "run.json", "graph.json", "result.json", "report.md"
PICTURE = "picture.png"  # of a candidate's answers, beside its predictions


def write_config(folder: Path, config: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """The whole config with its defaults, which `stepladder run` takes as it is.

    Beside it `run`: name, fingerprint, run_dir, data_sha256 by split, and each setting's origin.
    """
    (folder / RUN).write_text(json.dumps(dict(run), indent=2) + "\n")
    (folder / CONFIG).write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def write_graph(folder: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    """All steps of the run, so that its last ones can be done again when code and data have changed."""
    new = folder / f".{GRAPH}.{os.getpid()}.new"
    new.write_text(json.dumps(list(nodes)))
    new.replace(folder / GRAPH)


def judged_on_the_same_rows(run: Mapping[str, Any]) -> int:
    """How many other runs in the folder of runs have a result on the same test rows."""
    others = [
        path for path in Path(run["run_dir"]).parent.glob(f"*/{RUN}") if (path.parent / RESULT).exists()
    ]
    known = {}
    for path in others:
        other = json.loads(path.read_text())
        known[other["fingerprint"]] = other["data_sha256"].get("test")
    known.pop(run["fingerprint"], None)
    return sum(digest == run["data_sha256"].get("test") for digest in known.values())


def begin(old: Path) -> Path:
    """An empty folder for what is to take the place of `old`; those that killed runs have left go.

    To be called by one process at a time.
    """
    for ending in ("new", "gone"):
        for left in old.parent.glob(f".{old.name}.*.{ending}"):
            shutil.rmtree(left, ignore_errors=True)
    new = old.with_name(f".{old.name}.{os.getpid()}.new")
    new.mkdir(parents=True)
    return new


def replace(new: Path, old: Path) -> None:
    """Put the folder `new` in the place of `old`, whether that is there or not."""
    gone = old.with_name(f".{old.name}.{os.getpid()}.gone")
    if old.exists():
        old.rename(gone)
    new.rename(old)
    shutil.rmtree(gone, ignore_errors=True)
