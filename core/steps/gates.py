"""The gates that a config file asks for, where a promotion is not to go by those of the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import load_config


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: config (path). Returns {"gates": [{name: settings}]}. Raises ConfigError."""
    gates = load_config(Path(spec["config"])).config.promote.gates
    assert gates is not None, "a resolved config has gates"
    return {"gates": list(gates)}
