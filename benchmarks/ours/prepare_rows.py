"""The work of rows.py: one step of the preparation, in a process of its own, told by job.json.

`processes` of 1 keeps the rendering in this process, as it would be with few rows.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from pathlib import Path

from stepladder.core.data import near, rendering
from stepladder.core.discovery import discover
from stepladder.core.steps import read, render

STEPS = {"read": read.run, "near-duplicates": read.run, "render": render.run}


def main() -> None:
    job = json.loads(Path("job.json").read_text())
    if job["processes"]:
        for module in (near, rendering):
            module.processes_for = lambda rows: job["processes"]
    folder = Path("out")
    folder.mkdir()
    discover()  # a step of a run finds plugins and libraries imported
    importlib.import_module("transformers.models.auto.tokenization_auto")
    before, started = sum(os.times()[:4]), time.perf_counter()
    result = STEPS[job["step"]](job["spec"], folder)
    seconds, cpu_seconds = time.perf_counter() - started, sum(os.times()[:4]) - before
    figures = {"seconds": seconds, "cpu_seconds": cpu_seconds, "kept": result["data"]["train"]["kept"]}
    Path("result.json").write_text(json.dumps(figures))


main()
