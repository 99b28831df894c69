import json
import os
import time
from pathlib import Path

from . import act


def meet(folder, name):
    """Go on only when another fit is at work too."""
    (folder / name).write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < end, "no other fit has come"
        time.sleep(0.05)


def run(spec, folder):
    if spec["config"].get("meet"):
        meet(Path(spec["config"]["meet"]), spec["candidate"]["id"])
    artifact = folder / "artifact"
    artifact.mkdir()
    (artifact / "adapter.json").write_text(json.dumps({"method": spec["candidate"]["method"]}))
    lines = [{"step": step, "loss": 1.0 / step} for step in (1, 2, 3)]
    (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cost = {"trainable_parameters": 12, "train_seconds": 0.5, "trained_tokens": 30, "artifact_bytes": 20}
    return {**act("fit", spec, folder), **cost, "report": {}}
