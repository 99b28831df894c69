"""More training rows than the run prepared: those that a method has found answers for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..data.wording import Reading, Wording
from ..method import Data, DataSchema, Prompt
from ..tokenizer import Reader
from ..types import Encoded, Example, Split
from .base import Base


@dataclass(frozen=True)
class Joined:
    """The rows of a split, then some that are held in memory (`types.Split`)."""

    first: Split
    rows: Sequence[Example]
    tokens: Sequence[Encoded]

    def __len__(self) -> int:
        return len(self.first) + len(self.rows)

    def example(self, index: int) -> Example:
        before = len(self.first)
        return self.first.example(index) if index < before else self.rows[index - before]

    def encoded(self, index: int) -> Encoded:
        before = len(self.first)
        return self.first.encoded(index) if index < before else self.tokens[index - before]

    def examples(self) -> list[Example]:
        return [*self.first.examples(), *self.rows]


def with_rows(data: Data, examples: Sequence[Example], base: Base) -> Data:
    """`data` with these training rows too, as the base reads them; those that it cannot read are left out."""
    encoded = _wording(data, base).encode(examples)
    pairs = [
        (row, tokens) for row, tokens in zip(examples, encoded, strict=True) if isinstance(tokens, Encoded)
    ]
    train = Joined(data.train, [row for row, _ in pairs], [tokens for _, tokens in pairs])
    return replace(data, train=train)


def _wording(data: Data, base: Base) -> Wording | Reading:
    if isinstance(base.renderer, Reader):
        return Reading(base.renderer)
    return Wording(base.renderer, DataSchema(data.task, data.instruction, data.labels), Prompt())
