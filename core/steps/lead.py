"""Tell the other processes of torchrun's that the run lives, as long as it does. It holds no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..training.lead import lead
from ..training.torchrun import LEADS, torchrun


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: token (of the run), and over (the file that will hold its exit code)."""
    at = torchrun()
    assert at is not None, f"whoever sets {LEADS} has asked"
    lead(at, spec["token"], Path(spec["over"]))
    return {}
