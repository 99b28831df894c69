"""The gates of a config: what a version of the run must pass to become the champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..discovery import Registry
from ..errors import PluginError
from .drafts import read_entries
from .faults import Fault, validate

SECTION = "promote.gates"
Gates = list[dict[str, dict[str, Any]]]


def check_gates(values: Mapping[str, Any], registry: Registry) -> tuple[Gates, list[Fault]]:
    """The gates of a document with all their settings; the default ones where it names none."""
    promote = values.get("promote")
    given = promote.get("gates") if isinstance(promote, dict) else None
    if given is None:
        given = ["better_than_champion", *(["no_forgetting"] if values.get("retain") else [])]
    entries, faults = read_entries(given, SECTION, "gate")
    gates: Gates = []
    for entry in entries:
        try:
            gate = registry.gate(entry.name)
        except PluginError as error:
            faults.append(Fault(SECTION, str(error)))
            continue
        settings, wrong = validate(gate.Settings, entry.settings, entry.place)
        faults += wrong
        if settings is not None:
            gates.append({entry.name: settings.model_dump(mode="json")})
    return gates, faults
