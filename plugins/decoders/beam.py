"""Beam search in which an external scorer judges every beginning.

Source: Yao et al. 2023, "Tree of Thoughts", arXiv:2305.10601, Algorithm 1 (breadth-first search): each kept
beginning is extended in several sampled ways, all are valued, and the best are kept. Here the value is an
external scorer's, ties go to the likelier tokens, and the search ends early when the first has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from ...core.decoder import Attempt, Decoder, Judge, Writer
from ...core.hookspecs import hookimpl
from ...core.types import Ability, Answer, Example, Sampling, Written

# What a text ends in when the bytes of its last character are not all written yet.
HALF_WRITTEN = "\ufffd"


@hookimpl
def stepladder_decoders() -> Sequence[type[Decoder]]:
    return [Beam]


@dataclass
class Search:
    """The beginnings kept for one example, best first, and the tokens written on the way."""

    example: Example
    kept: list[Written]
    written_tokens: int = 0

    @property
    def done(self) -> bool:
        return self.kept[0].ended


class Beam(Decoder):
    name = "beam"
    scored_by = "by"
    judges_beginnings = True

    class Settings(Decoder.Settings):
        by: str | dict[str, dict[str, Any]] = Field(description="a scorer's name, or {scorer: its settings}")
        width: int = Field(4, ge=1, le=64, description="beginnings that are kept")
        expand: int = Field(4, ge=1, le=64, description="ways in which each goes on")
        step_tokens: int = Field(16, ge=1, description="tokens written between two judgements")
        temperature: float = Field(0.7, gt=0)
        top_k: int | None = Field(None, ge=1, description="draw among so many likeliest tokens")
        top_p: float = Field(0.95, gt=0, le=1, description="draw among the likeliest tokens of this mass")
        seed: int = 0

    settings: Settings

    @classmethod
    def asks(cls, settings: Any) -> tuple[Ability, ...]:
        return ("extend", "likelihood")

    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[Answer]:
        searches = [Search(example, [Written("", 0, ended=False)]) for example in examples]
        for length in range(0, writer.max_new_tokens, self.settings.step_tokens):
            running = [search for search in searches if not search.done]
            if not running:
                break
            last = length + self.settings.step_tokens >= writer.max_new_tokens
            self._step(writer, running, length, last)
        return [Answer(search.kept[0].text, search.written_tokens) for search in searches]

    def _step(self, writer: Writer, searches: Sequence[Search], length: int, last: bool) -> None:
        """Extend what is kept in all searches together, and keep the best of each."""
        chosen = self.settings
        asked = [(search, begun) for search in searches for begun in search.kept if not begun.ended]
        # Another seed for each step: the same one would draw by the same random numbers again.
        sampling = Sampling(chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed + length)
        drawn = writer.extend(
            [search.example for search, _ in asked],
            [begun for _, begun in asked],
            sampling,
            chosen.expand,
            chosen.step_tokens,
        )
        found = {id(search): [begun for begun in search.kept if begun.ended] for search in searches}
        for (search, begun), extended in zip(asked, drawn, strict=True):
            search.written_tokens += sum(each.tokens - begun.tokens for each in extended)
            found[id(search)] += extended
        assert self.scorer is not None, "`by` names a scorer"
        for search in searches:
            search.kept = best(search.example, found[id(search)], self.scorer, last)[: chosen.width]


def best(example: Example, found: Sequence[Written], scorer: Judge, last: bool) -> list[Written]:
    """Each once, best first: by the scorer, then by the mean log-probability of their tokens."""
    distinct = list({(each.ids, each.ended): each for each in found}.values())
    scores = scorer.scores([attempt(example, each, last) for each in distinct])
    ranks = [(score, each.mean_log_probability or 0.0) for score, each in zip(scores, distinct, strict=True)]
    order = sorted(range(len(distinct)), key=lambda place: ranks[place], reverse=True)
    return [distinct[place] for place in order]


def attempt(example: Example, written: Written, last: bool) -> Attempt:
    """`last` is whether nothing is written any more: then a beginning is an answer too."""
    ended = written.ended or last
    return Attempt(example, written.text if ended else written.text.rstrip(HALF_WRITTEN), ended)
