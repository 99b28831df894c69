"""Few-shot prompting: k answered rows stand before the question.

Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, §2.1. Fixed demonstrations
are a prefix that all rows share; drawn ones differ from row to row and share only what is really common.
Those nearest to the question by embedding: Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?",
arXiv:2101.06804, §3; the nearest stands last, beside the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field

from ...core.bases import DEFAULT_ENCODER
from ...core.data.demonstrations import FEWEST, UNLESS_TOLD, number_of_shots, spread
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, Method, OneOf, Prompt, SearchSpace, Style, WordedSettings
from ...core.model.base import Base
from ...core.model.nearest import embedding_fault
from ...core.model.prompted import PromptMethod
from ...core.types import Example

POOL = 256  # of rows to draw from
NEAR_POOL = 10_000  # of rows to be near to, each with an embedding of its own


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [FewShot]


class FewShot(PromptMethod):
    name = "few_shot"
    rung = 0.1
    summary = "answered rows before the question; nothing is fitted"
    answers = ("label", "choose", "generate", "number")

    class Settings(WordedSettings):
        shots: int | None = Field(None, ge=1, description=f"answered rows in the prompt; {UNLESS_TOLD}")
        demonstrations: Literal["fixed", "random", "nearest"] = Field(
            "fixed",
            description="the same rows for every question, drawn anew for each, or the nearest to each",
        )
        embedding: str = Field(
            DEFAULT_ENCODER,
            description="what nearness is told by: an encoder's name or folder, or base for the base itself",
        )
        style: Style = "instruction"
        seed: int = 0

    settings: Settings

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        if settings.demonstrations != "nearest":
            return super().base_fault(settings, model)
        return embedding_fault(settings.embedding, model) or super().base_fault(settings, model)

    @classmethod
    def search_space(cls, settings: Any) -> SearchSpace:
        """Half and twice the shots, in each style; where none are told, the rule and two numbers."""
        told = settings.shots
        numbers = (max(1, told // 2), told, 2 * told) if told else (None, 2 * FEWEST, 4 * FEWEST)
        return {"shots": OneOf(tuple(dict.fromkeys(numbers))), "style": OneOf(get_args(Style))}

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        wanted = number_of_shots(self.settings.shots, data.labels)
        return self.speak(base, data, self._prompt(data.train.examples(), wanted, context))

    def _prompt(self, train: Sequence[Example], wanted: int, context: Context) -> Prompt:
        settings = self.settings
        shots = min(wanted, len(train))
        if shots < wanted:
            context.log(f"few_shot: {wanted} shots wanted, {shots} training rows there are")
        if settings.demonstrations == "fixed":
            return Prompt(settings.style, tuple(spread(train, shots, settings.seed)))
        near = settings.demonstrations == "nearest"
        most = max(shots, NEAR_POOL if near else POOL)
        if near and len(train) > most:
            context.log(f"few_shot: of {len(train)} training rows the nearest are sought among {most}")
        pool = tuple(spread(train, most, settings.seed))
        return Prompt(settings.style, pool, draw=shots, embedding=settings.embedding if near else None)
