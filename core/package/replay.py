"""Whether a candidate answers as it did: some rows asked again, their answers and scores compared.

Scores are sums of log-probabilities, and how a sum is rounded hangs on the machine and on the rows that
are computed together: in float32 in the fifth digit, in bfloat16 in the second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.numbers import vector_in
from ..errors import ModelError
from ..types import Prediction
from .layout import example_of
from .served import Served

Row = Mapping[str, Any]
FULL_PRECISION = ("float32", "float64")
SHOWN_FAULTS = 3
# Written answers in few bits part sooner or later: so many words must still be the same.
FIRST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far scores may lie apart; which share of written answers may differ, and whether but their ends."""

    absolute: float = 1e-3
    relative: float = 1e-4
    differing: float = 0.0
    ends: bool = False

    def close(self, one: float, other: float) -> bool:
        return math.isclose(one, other, rel_tol=self.relative, abs_tol=self.absolute)


SAME_ROWS = Tolerance()
# Asked in other company, one near tie of a word may fall the other way.
OTHER_COMPANY = Tolerance(differing=1 / 8)
FEW_BITS = Tolerance(absolute=0.5, relative=0.05, differing=1 / 2, ends=True)


def tolerance(recorded_in: str, served: Served, among_others: bool = False) -> Tolerance:
    """`recorded_in` is the dtype of then, `among_others` whether the rows were asked together with others."""
    if not {recorded_in, served.serving.dtype} <= set(FULL_PRECISION):
        return FEW_BITS
    return OTHER_COMPANY if among_others else SAME_ROWS


def ask(served: Served, rows: Sequence[Row]) -> list[Prediction]:
    """What the candidate says to the rows (examples as JSON), all asked together."""
    return served.adapted.predict([example_of(row) for row in rows])


def require_same(rows: Sequence[Row], said: Sequence[Prediction], tolerated: Tolerance) -> None:
    """Raises ModelError where the answers that the rows hold differ from those now said."""
    faults = [
        f"row {row['id']}: {fault}"
        for row, now in zip(rows, said, strict=True)
        if (fault := _fault(row, now, tolerated))
    ]
    written = all(row["scores"] is None for row in rows)
    if len(faults) > (tolerated.differing * len(rows) if written else 0):
        raise ModelError(
            f"it does not answer as it was recorded, at {len(faults)} of {len(rows)} rows: "
            f"{'; '.join(faults[:SHOWN_FAULTS])}. Something that decides its answers is another now: compare "
            "the versions of libraries and plugins (`stepladder show MODEL`) with those installed"
        )


def _fault(row: Row, now: Prediction, tolerated: Tolerance) -> str | None:
    if row["scores"] is not None:
        return _fault_of_scores(row["scores"], now, tolerated) or _fault_of_choice(row, now, tolerated)
    then, likelihood = row["negative_log_likelihood"], now.negative_log_likelihood
    if then is not None and likelihood is not None:
        same = tolerated.close(then, likelihood)
        return None if same else f"its likelihood (nats) was {-then:.4f}, and is {-likelihood:.4f}"
    same = _compared(row["predicted"], tolerated) == _compared(now.predicted, tolerated)
    same = same or _close_numbers(row["predicted"], now.predicted, tolerated)
    return None if same else f"answered {row['predicted']!r}, and now {now.predicted!r}"


def _fault_of_scores(then: Mapping[str, float], now: Prediction, tolerated: Tolerance) -> str | None:
    scores = now.scores or {}
    if then.keys() != scores.keys():
        return f"the answers it decided among were {sorted(then)}, and are {sorted(scores)}"
    apart = [answer for answer, score in then.items() if not tolerated.close(score, scores[answer])]
    worst = max(apart, key=lambda answer: abs(then[answer] - scores[answer]), default=None)
    if worst is None:
        return None
    return f"the score of {worst!r} was {then[worst]:.4f}, and is {scores[worst]:.4f}"


def _fault_of_choice(row: Row, now: Prediction, tolerated: Tolerance) -> str | None:
    """Another answer is no fault where the two were as good as equal."""
    then, scores = row["predicted"], row["scores"]
    if then == now.predicted or tolerated.close(scores[then], scores[now.predicted]):
        return None
    return f"answered {then!r}, and now {now.predicted!r}"


def _close_numbers(one: str, other: str, tolerated: Tolerance) -> bool:
    """Numbers that are computed are rounded like a score."""
    ours, theirs = _numbers(one), _numbers(other)
    return bool(ours) and len(ours) == len(theirs) and all(map(tolerated.close, ours, theirs))


def _numbers(text: str) -> list[float]:
    """The one number that the text is, or those of the vector that it is; else none."""
    try:
        return [float(text)]
    except ValueError:
        return vector_in(text)


def _compared(text: str, tolerated: Tolerance) -> str:
    return " ".join(text.split()[:FIRST_WORDS]) if tolerated.ends else text
