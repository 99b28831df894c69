"""Take part in the fits of a run that the first process of torchrun's does, until that is over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..training.follow import follow
from ..training.limits import hold_memory
from ..training.torchrun import torchrun
from . import fit


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: runs (the folder of all runs). Returns exit_code (of the run)."""
    at = torchrun()
    assert at is not None, "one of torchrun's"
    return {"exit_code": follow(at, Path(spec["runs"]), _fit, folder)}


def _fit(spec: Path, folder: Path) -> dict[str, Any]:
    """This process's part of the fit of that spec, with the memory that the fit has."""
    told = json.loads(spec.read_text())
    hold_memory(told["config"]["limits"]["memory_gb"])
    return fit.run(told, folder)
