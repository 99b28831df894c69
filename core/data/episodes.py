"""Rows of several tasks of one family, and episodes drawn from them: rows to adapt on, others to judge by.

N-way, K-shot: Finn et al. 2017, arXiv:1703.03400, §5.2 (after Vinyals et al. 2016, arXiv:1606.04080).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..types import Example

# The indices of a task's rows, by their label.
TaskRows = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Episode:
    """One draw from one task: indices of the rows to adapt on and of others to judge by.

    `labels` [rows] are the same for both: the place of each row's label among those that were drawn.
    """

    support: Sequence[int]
    query: Sequence[int]
    labels: Sequence[int]


def rows_by_task(examples: Sequence[Example]) -> dict[str, dict[str, list[int]]]:
    """The indices of the examples by their task and label, each in alphabetical order."""
    found: dict[str, dict[str, list[int]]] = {}
    for index, example in sorted(enumerate(examples), key=lambda each: (each[1].task, each[1].expected)):
        found.setdefault(example.task, {}).setdefault(example.expected, []).append(index)
    return found


def drawable(rows: TaskRows, shots: int) -> list[str]:
    """The labels with rows enough for both sides of an episode."""
    return [label for label, indices in rows.items() if len(indices) >= 2 * shots]


def draw_episode(tasks: Sequence[TaskRows], ways: int, shots: int, source: random.Random) -> Episode:
    """`ways` labels of one of the tasks, in random order, with `shots` rows of each on either side.

    Each of the tasks must have so many drawable labels.
    """
    rows = source.choice(tasks)
    labels = source.sample(drawable(rows, shots), ways)
    drawn = [source.sample(rows[label], 2 * shots) for label in labels]
    return Episode(
        support=[index for indices in drawn for index in indices[:shots]],
        query=[index for indices in drawn for index in indices[shots:]],
        labels=[place for place in range(ways) for _ in range(shots)],
    )
