"""How sure a candidate is of its answers, from the scores that it gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def probabilities(scores: Mapping[str, float]) -> dict[str, float]:
    """The softmax over the scores of a row's possible answers."""
    highest = max(scores.values())
    shares = {answer: math.exp(score - highest) for answer, score in scores.items()}
    total = math.fsum(shares.values())
    return {answer: share / total for answer, share in shares.items()}
