"""Few-shot prompting: k answered rows stand before the question.

Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, §2.1. Fixed demonstrations
are a prefix that all rows share; drawn ones differ from row to row and share only what is really common.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, Method, Prompt, Style, WordedSettings
from ...core.model.base import Base
from ...core.model.prompted import PromptMethod
from ...core.types import Example

POOL = 256


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [FewShot]


def spread(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` examples in a seeded random order, over as many different answers as there are."""
    generator = random.Random(seed)
    by_answer: dict[str, list[Example]] = defaultdict(list)
    for example in generator.sample(examples, len(examples)):
        by_answer[example.expected].append(example)
    groups = generator.sample(list(by_answer.values()), len(by_answer))
    deepest = max(map(len, groups), default=0)
    rounds = [group[depth] for depth in range(deepest) for group in groups if depth < len(group)]
    return rounds[:count]


class FewShot(PromptMethod):
    name = "few_shot"
    rung = 0.1
    summary = "answered rows before the question; nothing is fitted"
    answers = ("label", "choose", "generate", "number")

    class Settings(WordedSettings):
        shots: int = Field(8, ge=1, description="answered rows in the prompt")
        demonstrations: Literal["fixed", "random"] = Field(
            "fixed", description="the same rows for every question, or drawn anew for each"
        )
        style: Style = "instruction"
        seed: int = 0

    settings: Settings

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        return self.speak(base, data, self._prompt(data.train.examples(), context))

    def _prompt(self, train: Sequence[Example], context: Context) -> Prompt:
        settings = self.settings
        shots = min(settings.shots, len(train))
        if shots < settings.shots:
            context.log(f"few_shot: {settings.shots} shots asked for, {shots} training rows there are")
        if settings.demonstrations == "fixed":
            return Prompt(settings.style, tuple(spread(train, shots, settings.seed)))
        return Prompt(settings.style, tuple(spread(train, max(shots, POOL), settings.seed)), draw=shots)
