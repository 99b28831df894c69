"""Imported once by the fork server, so that its children start with the heavy libraries in memory.

Only imports: the fork server must hold no threads and no device context.
"""

from __future__ import annotations

import contextlib
import importlib

for _name in (
    "torch",
    "transformers",
    "datasets",
    "stepladder.core.steps.render",
    "stepladder.core.steps.fit",
    "stepladder.core.steps.evaluate",
):
    # A module that cannot be imported fails in the child that needs it, with that child's own log.
    with contextlib.suppress(Exception):
        importlib.import_module(_name)
