"""ROUGE-L: F1 of the longest sequence of words that both answers have in this order; mean of rows.

Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1. Words are runs of
a-z and 0-9 after lower-casing, without stemming, as in the library rouge-score: letters of other scripts
are no words here (chrF counts them). Its length is found a word at a time for all places at once, in the
bits of one number: Hyyrö 2004, "Bit-Parallel LCS-length Computation Revisited".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

WORD = re.compile(r"[a-z0-9]+")


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [RougeL]


class RougeL(Metric):
    """An answer without words scores 0, also against one without words."""

    name = "rouge_l"

    def row(self, record: Record) -> float:
        predicted, expected = (WORD.findall(text.lower()) for text in (record.predicted, record.expected))
        if not predicted or not expected:
            return 0.0
        return 2 * common_length(predicted, expected) / (len(predicted) + len(expected))


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    After some words of `second`, a bit of `unmatched` is 0 where the longest common subsequence with the
    words of `first` up to there is longer by one than with those before it.
    """
    places: dict[str, int] = defaultdict(int)
    for place, word in enumerate(first):
        places[word] |= 1 << place
    everywhere = (1 << len(first)) - 1
    unmatched = everywhere
    for word in second:
        found = unmatched & places[word]
        unmatched = (unmatched + found | unmatched - found) & everywhere
    return len(first) - unmatched.bit_count()
