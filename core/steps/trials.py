"""What has become of each trial of a search, beside its checkpoints, to be found again after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..evaluation.search import Trial
from ..metric import Metric
from ..training.checkpoint import read_lines

Entry = Mapping[str, Any]
NAME = "trials.jsonl"


class Journal:
    """In `folder`, or nowhere.

    An entry has number, values, value (None: it was not finished), fault, and what the trial has cost.
    """

    def __init__(self, folder: Path | None, metric: Metric) -> None:
        self._path = folder / NAME if folder else None
        self._sign = 1.0 if metric.higher_is_better else -1.0
        self._found: dict[int, Entry] = {}
        for entry in read_lines(self._path) if self._path else ():
            self._found[int(entry["number"])] = entry

    def of(self, trial: Trial) -> Entry | None:
        """What became of the same trial before the search was killed.

        Not that of the best, whose weights are wanted: it is fitted again, from its last checkpoint.
        """
        entry = self._found.get(trial.number)
        if entry is None or entry is self._best() or _json(entry["values"]) != _json(trial.values):
            return None
        return entry

    def add(self, trial: Trial, value: float | None, fault: str, cost: Mapping[str, Any]) -> None:
        if self._path and trial.number not in self._found:
            entry = {"number": trial.number, "values": trial.values, "value": value, "fault": fault, **cost}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def _best(self) -> Entry | None:
        """The earliest of equals."""
        finished = [
            entry
            for entry in self._found.values()
            if entry["value"] is not None and math.isfinite(entry["value"])
        ]
        return max(finished, key=lambda entry: self._sign * entry["value"], default=None)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
