"""A plugin of another package is imported and asked in a fork first: what ends that would end the run.

Once that has gone well, it is not done again for the same file and release on this machine.
"""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ..environment import home
from . import loading
from .apart import Ended, apart
from .found import Found

SECONDS = 120.0
WELL = "well"


def rehearse(found: Found) -> None:
    """Raises Rejected where the plugin ends the process that imports or asks it, or holds it up for good."""
    mark = _mark(found)
    if found.built_in or (mark and mark.exists()):
        return
    try:
        went = apart(lambda: _try(found), SECONDS, silent=True)
    except Ended as error:
        raise loading.Rejected("disabled", f"cannot be imported: it {error}") from error
    if mark and went == WELL:
        with suppress(OSError):  # without a place to write, it is only slower
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def _try(found: Found) -> str:
    with suppress(BaseException):  # the import proper comes next, and tells
        manager = loading.make_manager()
        plugin = loading.load(found)
        loading.register(manager, found, plugin)
        loading.ask(manager, found, plugin)
        return WELL
    return ""


def _mark(found: Found) -> Path | None:
    """The file that says that all went well; None where nothing tells one state of a plugin from another."""
    if not found.info.sha256:
        return None
    identity = json.dumps([sys.version, asdict(found.info)], sort_keys=True)
    return home() / "cache" / "rehearsed" / hashlib.sha256(identity.encode()).hexdigest()
