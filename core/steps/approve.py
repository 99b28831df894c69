"""The step that notes who approves of a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..tracking.champion import approve
from ..tracking.client import connect


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: name, version (None: the challenger), by. Returns {"name", "version"}. Raises InputError."""
    version = approve(connect(), spec["name"], spec["version"], spec["by"])
    return {"name": version.name, "version": version.version}
