"""The step that makes the champion before this one champion again, and tells the plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..tracking.champion import rollback
from ..tracking.client import connect
from .candidate import say


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: name. Returns {"name", "version", "previous"}. Raises InputError where there is no way back."""
    change = rollback(connect(), spec["name"])
    told = {"name": change.name, "version": change.version, "previous": change.previous}
    for fault in discover().fire("rolled_back", promotion=told):
        say(fault)
    return told
