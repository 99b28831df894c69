"""Imported once by the fork server, so that its children start with the heavy libraries in memory.

Only imports: the fork server must hold no device context, and no threads of ours. transformers imports
its own parts when they are first used, so those that every step with a model uses are named too.
"""

from __future__ import annotations

import contextlib
import importlib

NAMES = (
    "torch",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "accelerate.hooks",
    "sympy",
    "datasets",
    "sklearn.linear_model",
    "scipy.stats",
    "stepladder.core.steps.read",
    "stepladder.core.steps.render",
    "stepladder.core.steps.fit",
    "stepladder.core.steps.evaluate",
    "stepladder.core.steps.compare",
)


def import_those(*names: str) -> None:
    """A module that cannot be imported fails in the child that needs it, with that child's own log."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


import_those(*NAMES)
