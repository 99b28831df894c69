"""The decoder that a candidate's settings name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def name_and_settings(named: str | Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """Of a plugin that is given by its name, or as {name: its settings}."""
    if isinstance(named, str):
        return named, {}
    ((name, settings),) = named.items()
    return name, settings or {}
