"""The git commit that a config was run at."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

SECONDS = 20


def find_commit(folder: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the repository that the folder lies in; None where that cannot be told.

    Dirty means that files which git tracks differ from the commit, as `git describe --dirty` has it.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if not commit or changed is None:
        return None
    return {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where it is absent, too slow, or refuses. It writes nothing and starts nothing."""
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
