"""Whether what is planned is the run that is to be gone on with, and what has changed if it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..report.folder import CONFIG, GRAPH, RUN

# Keys of a config that decide nothing of what a run finds out.
FREE = ("register", "promote", "limits", "checkpoint", "data_license")


def require_same_run(folder: Path, run: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """`run` and `config` are as they are planned now. Raises InputError where they make another run."""
    before = json.loads((folder / RUN).read_text())
    if before["fingerprint"] == run["fingerprint"]:
        return
    changed = list(_changed(folder, before, run, config))
    what = ", ".join(changed) or "its base, a plugin, a library or Stepladder itself"
    raise InputError(
        f"--resume {folder.name}: it cannot be gone on with, since something has changed: {what}. "
        f"`stepladder run {folder / CONFIG}` makes a new run of it as it is now"
    )


def _changed(
    folder: Path, before: Mapping[str, Any], run: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[str]:
    known = json.loads((folder / GRAPH).read_text())[0]["spec"]["config"]
    yield from (f"its {key}" for key in config if key not in FREE and known.get(key) != config[key])
    for split, digest in run["data_sha256"].items():
        if before["data_sha256"].get(split) != digest:
            yield f"the {split} rows"
