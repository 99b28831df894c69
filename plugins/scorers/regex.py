"""Whether a regular expression is found in an answer: 1 or 0. `^` and `$` hold it to the ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from ...core.decoder import Scorer, ScorerSettings
from ...core.hookspecs import hookimpl
from ...core.types import Example


@hookimpl
def stepladder_scorers() -> Sequence[type[Scorer]]:
    return [Regex]


class Regex(Scorer):
    name = "regex"

    class Settings(ScorerSettings):
        pattern: str = Field(description="a regular expression of Python's `re`")

        @field_validator("pattern")
        @classmethod
        def _compiles(cls, value: str) -> str:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"expected a regular expression ({error})") from None
            return value

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.pattern = re.compile(settings.pattern)

    def score(self, example: Example, answer: str, ended: bool) -> float:
        return float(self.pattern.search(answer) is not None)
