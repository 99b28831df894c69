"""Whether an answer is Python: 1 if it parses, else 0. Nothing of it is run.

A beginning counts as good where more text may still make it whole; its last line may break off anywhere.
"""

from __future__ import annotations

import ast
import codeop
import warnings
from collections.abc import Sequence

from ...core.decoder import Scorer
from ...core.hookspecs import hookimpl
from ...core.types import Example


@hookimpl
def stepladder_scorers() -> Sequence[type[Scorer]]:
    return [PythonSyntax]


class PythonSyntax(Scorer):
    name = "python_syntax"
    judges_beginnings = True

    def score(self, example: Example, answer: str, ended: bool) -> float:
        with warnings.catch_warnings(action="ignore"):
            return float(parses(answer) if ended else may_parse(answer))


def parses(text: str) -> bool:
    """An empty text is no program. Raises MemoryError or RecursionError for one that is nested too deep."""
    try:
        return bool(ast.parse(text).body)
    except (SyntaxError, ValueError):
        return False


def may_parse(text: str) -> bool:
    """Whether the text, or all but its last line, is whole or can be made whole by going on."""
    before, _, _ = text.rpartition("\n")
    return any(map(_is_beginning, (text, before)))


def _is_beginning(text: str) -> bool:
    try:
        codeop.compile_command(text, symbol="exec")
    except (SyntaxError, ValueError, OverflowError):
        return False
    return True
