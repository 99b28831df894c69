"""Zero-shot prompting: the question alone, as an instruction, a question, or a text to complete.

Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, §2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, Method, OneOf, Prompt, SearchSpace, Style, WordedSettings
from ...core.model.base import Base
from ...core.model.prompted import PromptMethod


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [ZeroShot]


class ZeroShot(PromptMethod):
    name = "zero_shot"
    rung = 0.0
    summary = "the question alone; nothing is fitted"
    answers = ("label", "choose", "generate", "number", "likelihood")
    needs_rows = False

    class Settings(WordedSettings):
        style: Style = "instruction"

    settings: Settings

    @classmethod
    def search_space(cls, settings: Any) -> SearchSpace:
        return {"style": OneOf(get_args(Style))}

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        return self.speak(base, data, Prompt(self.settings.style))
