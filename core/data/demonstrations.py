"""Which answered rows are shown before a question."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Sequence

from ..types import Example

FEWEST, MOST = 4, 32
UNLESS_TOLD = f"unless told, one for each label, {FEWEST} to {MOST}"


def number_of_shots(told: int | None, labels: Collection[str]) -> int:
    """So many as are told; else one for each label, but `FEWEST` at least and `MOST` at most."""
    return min(max(FEWEST, len(labels)), MOST) if told is None else told


def spread(
    examples: Sequence[Example], count: int, seed: int, preferred: Collection[str] = ()
) -> list[Example]:
    """`count` examples in a seeded random order, over as many different answers as there are.

    Those whose ids are `preferred` come before others with the same answer, and their answers before others.
    """
    generator = random.Random(seed)
    by_answer: dict[str, list[Example]] = defaultdict(list)
    for example in sorted(
        generator.sample(examples, len(examples)), key=lambda each: each.id not in preferred
    ):
        by_answer[example.expected].append(example)
    groups = generator.sample(list(by_answer.values()), len(by_answer))
    deepest = max(map(len, groups), default=0)
    rounds = [[group[depth] for group in groups if depth < len(group)] for depth in range(deepest)]
    ordered = [example for each in rounds for example in sorted(each, key=lambda it: it.id not in preferred)]
    return ordered[:count]
