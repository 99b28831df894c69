"""What must be so before Prefect is imported by a command."""

from __future__ import annotations

import os
from pathlib import Path


def quiet_prefect() -> None:
    """Make Prefect's folder, and leave the console to the command; Prefect's server has the whole log."""
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # it makes the last folder only
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
