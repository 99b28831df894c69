"""Majority vote: several answers are drawn, and what most of them come to is the answer.

Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models",
arXiv:2203.11171, §2: the unweighted sum over sampled paths, which marginalises them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import regex
from pydantic import Field, field_validator

from ...core.data.numbers import NUMBER, number_as_text, number_in
from ...core.decoder import Decoder, Writer
from ...core.hookspecs import hookimpl
from ...core.types import Ability, Answer, Example, Sampling, Written

# A pattern can backtrack for ever on what a model writes.
MOST_SECONDS = 1.0
Pattern = dict[Literal["regex"], str]
Extractor = Literal["whole", "last_number"] | Pattern


@hookimpl
def stepladder_decoders() -> Sequence[type[Decoder]]:
    return [MajorityVote]


class MajorityVote(Decoder):
    """Answers of which nothing can be extracted do not vote; where none can, the first answer stays whole."""

    name = "majority_vote"

    class Settings(Decoder.Settings):
        n: int = Field(8, ge=1, le=256, description="answers drawn for each row")
        answer: Extractor = Field(
            "whole",
            description="what of a text votes: all of it but for case and white space, the last number "
            "in it, or {regex: a pattern with one group}",
        )
        ties: Literal["first", "likelihood"] = Field(
            "first", description="the answer drawn first, or the one with the likeliest draw"
        )
        temperature: float = Field(0.7, ge=0, description="0 is greedy: all answers are the same")
        top_k: int | None = Field(None, ge=1, description="draw among so many likeliest tokens")
        top_p: float = Field(0.95, gt=0, le=1, description="draw among the likeliest tokens of this mass")
        seed: int = 0

        @field_validator("answer")
        @classmethod
        def _one_group(cls, value: Any) -> Any:
            if isinstance(value, dict):
                require_one_group(value)
            return value

    settings: Settings

    @classmethod
    def asks(cls, settings: Any) -> tuple[Ability, ...]:
        return ("write", "likelihood") if settings.ties == "likelihood" else ("write",)

    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[Answer]:
        chosen = self.settings
        sampling = Sampling(chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed)
        drawn = writer.write(examples, sampling, chosen.n)
        return [Answer(self._elected(answers), sum(each.tokens for each in answers)) for answers in drawn]

    def _elected(self, answers: Sequence[Written]) -> str:
        """The extracted answer with most votes, as it stood where it was drawn first."""
        voters: dict[str, list[Written]] = {}
        shown: dict[str, str] = {}
        for each in answers:
            said = extract(each.text, self.settings.answer)
            if said is not None:
                key = " ".join(said.split()).casefold()
                shown.setdefault(key, said)
                voters.setdefault(key, []).append(each)
        if not voters:
            return answers[0].text
        return shown[max(voters, key=lambda key: (len(voters[key]), self._weight(voters[key])))]

    def _weight(self, voters: Sequence[Written]) -> float:
        if self.settings.ties == "first":
            return 0.0
        return max(each.mean_log_probability or 0.0 for each in voters)


def require_one_group(named: Pattern) -> None:
    """Raises ValueError, in words for the user."""
    pattern = named.get("regex", "")
    try:
        groups = regex.compile(pattern).groups
    except regex.error as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    if groups != 1:
        raise ValueError(f"expected a pattern with one group (…), it has {groups}")


def extract(text: str, how: Extractor) -> str | None:
    """What of a text is its answer; None where there is none."""
    if how == "whole":
        return text or None
    if isinstance(how, dict):
        return by_pattern(text, how["regex"])
    numbers = [found[0] for found in NUMBER.finditer(text)]
    last = number_in(numbers[-1]) if numbers else None
    return None if last is None else number_as_text(last)


def by_pattern(text: str, pattern: str) -> str | None:
    """The group of the first match; None where there is none, or none is found in time."""
    try:
        found = regex.search(pattern, text, timeout=MOST_SECONDS)
    except TimeoutError:
        return None
    return found[1] if found else None
