"""Token F1: how far the words of a written answer overlap with those of the expected one; mean of rows.

Source: Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text", section 6.1.
Words are what white space separates after the text is lower-cased, stripped of ASCII punctuation and of
the articles a, an, the. Two empty answers score 1, an empty one against any other scores 0.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

ARTICLES = frozenset({"a", "an", "the"})
DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [TokenF1]


def words(text: str) -> list[str]:
    plain = text.lower().translate(DROP_PUNCTUATION)
    return [word for word in plain.split() if word not in ARTICLES]


def overlap_f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it occurs."""
    if not predicted or not expected:
        return float(predicted == expected)
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected))


class TokenF1(Metric):
    name = "token_f1"

    def row(self, record: Record) -> float:
        return overlap_f1(words(record.predicted), words(record.expected))
