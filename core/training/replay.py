"""Replay: rows of ordinary text beside those of the task, so that training on these does not undo the rest.

The share is of tokens: of all that a batch trains, so many are of the text. The text is taken token by token:
where a batch needs a part of a row, the next batch goes on behind it, and reads what came before untrained.
What rounding to whole tokens leaves over is carried to the next batch, so the share of the whole training is
exact too. Robins 1995, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal", calls it rehearsal.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..types import Encoded


@dataclass(frozen=True)
class ReplayText:
    """The rows to draw from, and the share of the trained tokens that is theirs."""

    rows: Sequence[Encoded]
    share: float

    def stream(self, seed: int, room: int) -> Replay:
        """From its beginning; rows are cut to `room` tokens."""
        cut = [Encoded(row.tokens[:room], row.trained[:room]) for row in self.rows]
        return Replay([row for row in cut if any(row.trained)], self.share, seed)


class Replay:
    """An endless stream of the rows, in a new seeded order each time they are through."""

    def __init__(self, rows: Sequence[Encoded], share: float, seed: int) -> None:
        assert rows, "a text without a token to train was refused before"
        self._each = share / (1 - share)  # replayed tokens for each token of the task
        self._owed = 0.0
        self._order = _endless(rows, random.Random(seed))
        self._row, self._at = next(self._order)

    def beside(self, tokens: int) -> list[Encoded]:
        """What goes with so many trained tokens of the task."""
        self._owed += tokens * self._each
        wanted = round(self._owed)
        self._owed -= wanted
        return list(self._take(wanted))

    def _take(self, wanted: int) -> Iterator[Encoded]:
        """Rows with exactly so many trained tokens, none left out and none twice."""
        while wanted:
            end = min(len(self._row.tokens), self._at + wanted)
            yield Encoded(self._row.tokens[:end], [False] * self._at + [True] * (end - self._at))
            wanted -= end - self._at
            self._at = end
            if end == len(self._row.tokens):
                self._row, self._at = next(self._order)


def _endless(rows: Sequence[Encoded], order: random.Random) -> Iterator[tuple[Encoded, int]]:
    """Each row with its first trained place; behind that all are trained."""
    while True:
        for row in order.sample(rows, len(rows)):
            yield row, row.trained.index(True)


def pieces(row: Encoded, length: int) -> Iterator[Encoded]:
    """The row in parts of at most `length` tokens.

    Each begins with the last token of the one before it, untrained, so that every trained token stays in one.
    """
    for start in range(0, max(1, len(row.tokens) - 1), length - 1):
        tokens, trained = row.tokens[start : start + length], row.trained[start : start + length]
        piece = Encoded(tokens, [False, *trained[1:]])
        if any(piece.trained):
            yield piece


def save_rows(path: Path, rows: Sequence[Encoded]) -> None:
    """One line a row: its tokens, and how many of them are only given."""
    lines = [json.dumps({"given": row.trained.index(True), "tokens": row.tokens}) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def load_rows(path: Path) -> list[Encoded]:
    """What `save_rows` wrote."""
    saved = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Encoded(row["tokens"], [place >= row["given"] for place in range(len(row["tokens"]))])
        for row in saved
    ]
