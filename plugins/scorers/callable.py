"""A function of yours: `function(answer, input)` returns a number or a truth value, higher is better.

It runs in a process of its own, and only in the run whose config names it: a saved candidate never brings
code to run, so that a candidate with this scorer cannot be registered.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field

from ...core.decoder import Scorer, ScorerSettings
from ...core.errors import InputError
from ...core.hookspecs import hookimpl
from ...core.types import Example


@hookimpl
def stepladder_scorers() -> Sequence[type[Scorer]]:
    return [CallableScorer]


class CallableScorer(Scorer):
    name = "callable"
    runs_code = True

    class Settings(ScorerSettings):
        function: str = Field(description="module:function, the module to be found on PYTHONPATH")

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        module, _, name = settings.function.partition(":")
        self.function: Callable[[str, str], float] = getattr(importlib.import_module(module), name)

    @classmethod
    def settled(cls, settings: Any) -> ScorerSettings:
        module, _, name = settings.function.partition(":")
        if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
            raise InputError(f"function: expected module:function, found {settings.function!r}")
        if not is_found(module):
            raise InputError(
                f"function: there is no module {module!r}: put its folder on PYTHONPATH, or install it"
            )
        kept: ScorerSettings = settings
        return kept

    def score(self, example: Example, answer: str, ended: bool) -> float:
        return float(self.function(answer, example.input))


def is_found(module: str) -> bool:
    """Whether the module could be imported; the packages around it are."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
