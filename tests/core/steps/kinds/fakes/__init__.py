# ruff: noqa: T201
"""All step kinds of a run, without data or models.

`fail: {<node id>: <how>}` in the config makes one fail.
"""

import json
import os
import signal

from stepladder.core.errors import DataError, ModelError


def act(kind, spec, folder):
    """Write one file, count the call, and fail if told so."""
    print(f"{kind} at work", flush=True)
    (folder / "made.txt").write_text(kind)
    name = spec.get("candidate", {}).get("id")
    how = spec["config"].get("fail", {}).get(f"{kind}:{name}" if name else kind)
    if how == "input":
        raise DataError(f"{kind}: the input is wrong")
    if how == "model":
        raise ModelError(f"{kind}: the base is wrong")
    if how == "error":
        raise ValueError(f"{kind} went wrong")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"kind": kind, "pid": os.getpid()}


def quarantine(folder):
    line = {"split": "train", "file": "train.jsonl", "line": 3, "reason": "empty response", "row": "{}"}
    (folder / "quarantine.jsonl").write_text(json.dumps(line) + "\n")
