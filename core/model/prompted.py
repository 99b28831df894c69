"""The contract of methods that fit nothing but what is said to the base: they run wherever it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..bases import base_kind
from ..method import Adapted, Answering, Data, DataSchema, Method, Prompt, WordedSettings
from ..types import BaseKind
from .asked import Asked
from .base import Base
from .nearest import find_nearest
from .worded import Worded


class PromptMethod(Method):
    """A subclass makes a prompt, and has it answer by `speak`."""

    adapted: ClassVar[type[Adapted]] = Worded
    bases = ("causal", "endpoint")

    @classmethod
    def answers_on(cls, settings: Any, kind: BaseKind) -> tuple[Answering, ...]:
        if kind == "endpoint":
            return tuple(way for way in cls.answers if way != "likelihood")
        return cls.answers

    @classmethod
    def base_fault(cls, settings: Any, model: Mapping[str, Any]) -> str | None:
        return next(endpoint_faults(settings), None) if base_kind(model) == "endpoint" else None

    def adapted_on(self, kind: BaseKind) -> type[Adapted]:
        return Asked if kind == "endpoint" else self.adapted

    def speak(self, base: Base, data: Data, prompt: Prompt) -> Adapted:
        """The base behind the prompt; the rule by which its probabilities are read, where it tells any."""
        schema = DataSchema(data.task, data.instruction, data.labels)
        nearest = find_nearest(prompt, base)
        if base.kind == "endpoint":
            return Asked(base, schema, prompt, self, nearest)
        worded = Worded(base, schema, prompt, self, nearest=nearest)
        worded.calibrate(data.validation.examples())
        return worded


def endpoint_faults(settings: WordedSettings) -> Iterator[str]:
    """What an endpoint that takes chats in the OpenAI form cannot do."""
    if getattr(settings, "style", None) == "cloze":
        yield (
            "style: found 'cloze', a text to be completed, and an endpoint takes chats alone: expected "
            "'instruction' or 'question'"
        )
    if isinstance(settings.decoder, Mapping):
        for name, chosen in settings.decoder.items():
            if chosen.get("top_k") is not None:
                yield f"decoder.{name}.top_k: the OpenAI form has no such key: use top_p"
