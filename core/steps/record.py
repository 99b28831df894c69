"""The step that records the run and its candidates in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..tracking.record import Recording, record_run
from .kept import results_kept
from .store import read_result


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns {"run_id", "candidates"}: ids of MLflow's runs."""
    needs = {node: Path(path) for node, path in spec["needs"].items()}
    fits = {node.partition(":")[2]: path for node, path in needs.items() if node.startswith("fit:")}
    curves = {name: path / "progress.jsonl" for name, path in fits.items()}
    recording = Recording(
        run=spec["run"],
        config=spec["config"],
        compared=read_result(needs["compare"]),
        curves={name: path for name, path in curves.items() if path.exists()},
    )
    with results_kept(spec["run"]["run_dir"]):
        return asdict(record_run(recording))
