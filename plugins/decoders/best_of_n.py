"""Best of N: several answers are drawn, and the one that a judge puts first is taken.

Sources: Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168 (completions
ranked by a verifier). By likelihood it is the sample-and-rank of Adiwardana et al. 2020, arXiv:2001.09977.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ...core.decoder import Attempt, Decoder, Writer
from ...core.hookspecs import hookimpl
from ...core.types import Ability, Answer, Example, Sampling, Written


@hookimpl
def stepladder_decoders() -> Sequence[type[Decoder]]:
    return [BestOfN]


class BestOfN(Decoder):
    """Of answers that a scorer finds equal, the one with the likelier tokens is taken, then the first."""

    name = "best_of_n"
    scored_by = "by"
    own_scores = ("likelihood", "mean_likelihood")

    class Settings(Decoder.Settings):
        n: int = Field(4, ge=1, le=256, description="answers drawn for each row")
        by: str | dict[str, dict[str, Any]] = Field(
            "mean_likelihood",
            description="likelihood, mean_likelihood (a token), a scorer's name, or {scorer: its settings}",
        )
        temperature: float = Field(0.7, ge=0, description="0 is greedy: all answers are the same")
        top_k: int | None = Field(None, ge=1, description="draw among so many likeliest tokens")
        top_p: float = Field(0.95, gt=0, le=1, description="draw among the likeliest tokens of this mass")
        seed: int = 0

    settings: Settings

    @classmethod
    def asks(cls, settings: Any) -> tuple[Ability, ...]:
        return ("write", "likelihood") if settings.by in cls.own_scores else ("write",)

    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[Answer]:
        chosen = self.settings
        sampling = Sampling(chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed)
        drawn = writer.write(examples, sampling, chosen.n)
        return [
            Answer(self._best(example, answers).text, sum(answer.tokens for answer in answers))
            for example, answers in zip(examples, drawn, strict=True)
        ]

    def _best(self, example: Example, answers: Sequence[Written]) -> Written:
        """The first of those that rank highest."""
        scores = self._scores(example, answers)
        ranks = {place: (score, mean(answers[place])) for place, score in enumerate(scores)}
        return answers[max(ranks, key=lambda place: ranks[place])]

    def _scores(self, example: Example, answers: Sequence[Written]) -> Sequence[float]:
        if self.scorer:
            return self.scorer.scores([Attempt(example, answer.text) for answer in answers])
        return [total(answer) if self.settings.by == "likelihood" else mean(answer) for answer in answers]


def total(answer: Written) -> float:
    """Nats; 0 where the base does not tell."""
    return answer.log_probability or 0.0


def mean(answer: Written) -> float:
    """Nats a token; 0 where the base does not tell."""
    return answer.mean_log_probability or 0.0
