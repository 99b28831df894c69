"""The step that tells whence registered versions come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..tracking.about import about
from ..tracking.client import connect
from ..tracking.versions import find


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: models (references to versions). Returns {"versions": all that is known of each}.

    Raises InputError where there is no such version, ModelError where it does not say whence it comes.
    """
    client = connect()
    return {"versions": [about(client, find(client, reference)) for reference in spec["models"]]}
