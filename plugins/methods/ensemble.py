"""Ensemble: candidates of the run answer together, by their averaged probabilities or by vote.

Perrone and Cooper 1993, "When Networks Disagree: Ensemble Methods for Hybrid Neural Networks" (the mean of
the members' probabilities); Dietterich 2000, "Ensemble Methods in Machine Learning" (why members that err
apart help each other). A member's probabilities are the softmax over its scores of the possible answers; a
tie of votes goes to the answer whose first voter is listed first.

It is as dear as its members together: their artifacts lie in its own, one is put on the base after the other
to answer, and their fits are part of its cost. It has forgotten what the worst of them has.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from ...core.discovery import Registry, discover
from ...core.errors import StepError
from ...core.evaluation.confidence import probabilities
from ...core.files import link
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Answering, Context, Data, DataSchema, Method
from ...core.model.adapter import opened
from ...core.model.base import Base
from ...core.types import BaseKind, Example, Prediction

ABOUT, MEMBERS = "ensemble.json", "members"
SMALLEST = 1e-30  # of a probability, so that its logarithm is a number


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Ensemble]


def mean(said: Sequence[Prediction]) -> Prediction:
    """Members' predictions of one example, each with scores, to that of their averaged probabilities."""
    shares = [probabilities(each.scores or {}) for each in said]
    means = {answer: math.fsum(share[answer] for share in shares) / len(shares) for answer in shares[0]}
    scores = {answer: math.log(max(share, SMALLEST)) for answer, share in means.items()}
    return Prediction(said[0].id, max(means, key=means.__getitem__), scores)


def vote(said: Sequence[Prediction]) -> Prediction:
    """Members' predictions of one example to the answer that most gave; of equals the first given."""
    votes = Counter(each.predicted for each in said)  # which keeps the order of their first voters
    return Prediction(said[0].id, max(votes, key=votes.__getitem__))


class Together(Adapted):
    """Members by their ids, each with its adapter folder, in the order in which they are listed."""

    def __init__(
        self, base: Base, members: Mapping[str, Path], combine: str, about: Mapping[str, Any]
    ) -> None:
        self.base = base
        self.members = members
        self.combine = combine
        self.trainable_parameters = about["trainable_parameters"]
        self.alters_base = about["alters_base"]

    @cached_property
    def registry(self) -> Registry:
        return discover()

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        combine = mean if self.combine == "mean" else vote
        return [combine(said) for said in zip(*self._ask_all(examples), strict=True)]

    def _ask_all(self, examples: Sequence[Example]) -> Iterator[list[Prediction]]:
        for name, folder in self.members.items():
            with opened(folder, self.base, self.registry) as member:
                said = member.predict(examples)
            if self.combine == "mean" and not all(each.scores for each in said):
                raise StepError(
                    f"ensemble: {name} gives no probabilities of its answers here: set combine to vote"
                )
            yield said

    def attached(self) -> Iterator[None]:
        for folder in self.members.values():
            with opened(folder, self.base, self.registry) as member:
                if member.alters_base:
                    yield

    def save(self, folder: Path) -> None:
        for place, member in enumerate(self.members.values()):
            link(member, folder / MEMBERS / f"{place:02}")
        about = {"trainable_parameters": self.trainable_parameters, "alters_base": self.alters_base}
        (folder / ABOUT).write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        assert isinstance(method, Ensemble), "it is read by its own method"
        folders = sorted((folder / MEMBERS).iterdir())
        members = dict(zip(method.settings.of, folders, strict=True))
        return cls(base, members, method.settings.combine, json.loads((folder / ABOUT).read_text()))


class Ensemble(Method):
    name = "ensemble"
    rung = 0.0
    summary = "candidates of the run answer together; the rung is their highest"
    answers = ("label", "choose", "generate")
    bases = ("causal", "encoder")
    adapted = Together

    class Settings(Method.Settings):
        of: list[str] = Field(
            min_length=2, description="ids of the candidates, as `stepladder plan` shows them"
        )
        combine: Literal["mean", "vote"] = Field(
            "mean", description="by averaged probabilities, or by the answer that most give"
        )

        @field_validator("of")
        @classmethod
        def _different(cls, of: list[str]) -> list[str]:
            if len(set(of)) < len(of):
                raise ValueError("expected different candidates, found one twice")
            return of

    settings: Settings

    @classmethod
    def needs(cls, settings: Any) -> Sequence[str]:
        return list(settings.of)

    @classmethod
    def answers_on(cls, settings: Any, kind: BaseKind) -> tuple[Answering, ...]:
        """Texts that a member writes have no probabilities to be averaged."""
        return ("label", "choose") if settings.combine == "mean" else cls.answers

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        members = {name: context.artifact(name) for name in self.settings.of}
        parameters, altering = 0, False
        for name in self.settings.of:
            with context.candidate(name, base) as member:
                parameters += member.trainable_parameters
                altering |= member.alters_base
        about = {"trainable_parameters": parameters, "alters_base": altering}
        together = Together(base, members, self.settings.combine, about)
        together.predict(data.validation.examples()[:1])  # what cannot be combined is told before the rest
        return together
