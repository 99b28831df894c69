"""Zero-shot prompting: the question alone, as an instruction, a question, or a text to complete.

Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, §2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, DataSchema, Method, Prompt, Style, WordedSettings
from ...core.model.base import Base
from ...core.model.worded import Worded


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [ZeroShot]


class ZeroShot(Method):
    name = "zero_shot"
    rung = 0.0
    summary = "the question alone; nothing is fitted"
    answers = ("label", "choose", "generate", "number", "likelihood")
    adapted = Worded
    needs_rows = False

    class Settings(WordedSettings):
        style: Style = "instruction"

    settings: Settings

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        schema = DataSchema(data.task, data.instruction, data.labels)
        worded = Worded(base, schema, Prompt(self.settings.style), self)
        worded.calibrate(data.validation.examples())
        return worded
