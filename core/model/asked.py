"""Candidates on an endpoint: a prompt, put to it as a chat; it writes, and tells no probabilities.

A closed answer is what was written, as the option that it means; where it means none it stays as it was
written, which counts as wrong and can be read in the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ..data.matching import match_option
from ..data.numbers import number_as_text, number_in
from ..data.wording import Wording
from ..decoder import Writer
from ..method import Adapted, DataSchema, Method, Prompt
from ..types import Example, Prediction, Sampling, Written
from .base import Base
from .endpoint import Endpoint, Question
from .nearest import Nearest, load_nearest, save_nearest
from .prompts import read_prompt, write_prompt


class Asked(Adapted, Writer):
    """An endpoint that answers by a prompt."""

    prompt_tokens: int

    def __init__(
        self, base: Base, schema: DataSchema, prompt: Prompt, method: Method, nearest: Nearest | None = None
    ) -> None:
        self.base = base
        self.prompt = prompt
        self.method = method
        self.nearest = nearest
        self.wording = Wording(base.renderer, schema, prompt, nearest.places if nearest else None)
        self.prompt_tokens = 0

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        assert self.method.decoder is not None, "worded methods are built with a decoder"
        answers = self.method.decoder.decode(self, examples)
        return [
            Prediction(example.id, self._read(example, answer.text), written_tokens=answer.written_tokens)
            for example, answer in zip(examples, answers, strict=True)
        ]

    @property
    def max_new_tokens(self) -> int:
        return getattr(self.method.settings, "max_new_tokens", 128)

    def write(self, examples: Sequence[Example], sampling: Sampling, count: int = 1) -> list[list[Written]]:
        assert sampling.top_k is None, "refused with the config"
        endpoint: Endpoint = self.base.model
        questions = [Question(example.id, self.wording.turns(example)) for example in examples]
        repeated = [question for question in questions for _ in range(count)]
        said = endpoint.complete(repeated, sampling, self.max_new_tokens)
        self.prompt_tokens += sum(each.prompt_tokens for each in said)
        written = [Written(each.text, each.tokens, ended=each.ended) for each in said]
        return [written[place : place + count] for place in range(0, len(written), count)]

    def scorer_faults(self) -> Mapping[str, int] | None:
        scorer = self.method.decoder.scorer if self.method.decoder else None
        return scorer.faults if scorer else None

    def _read(self, example: Example, written: str) -> str:
        schema = self.wording.schema
        if schema.task.answering in ("label", "choose"):
            return match_option(written, schema.task.options(example, schema.labels)) or written
        if schema.task.answering == "number":
            number = number_in(written)
            return written if number is None else number_as_text(number)
        return written

    def save(self, folder: Path) -> None:
        write_prompt(folder, self.prompt, **save_nearest(self.nearest, folder))

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        prompt = read_prompt(folder)
        return cls(base, schema, prompt, method, load_nearest(folder, prompt, base))
