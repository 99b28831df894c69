"""chrF: F-score of the n-grams of characters, n from 1 to 6, recall counting twice; 0 to 100.

Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation". It is sacreBLEU's chrF2
with its defaults: spaces do not count, one figure for all rows together. It needs no words, so it suits
every script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.chrf import CHRF

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

ORDERS = 6
BETA = 2


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [ChrF]


class ChrF(Metric):
    name = "chrf"
    scale = 100.0

    def __init__(self) -> None:
        self._counted: tuple[Sequence[Record], NDArray[np.float64]] | None = None

    def value(self, records: Sequence[Record]) -> float:
        predicted, expected = [row.predicted for row in records], [row.expected for row in records]
        return float(CHRF().corpus_score(predicted, [expected]).score)

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        written, expected, common = np.moveaxis(np.tensordot(counts, self._statistics(records), axes=1), 2, 0)
        there = (written > 0) & (expected > 0)  # [resamples, ORDERS]
        orders = np.maximum(there.sum(axis=1), 1)
        precision = _shares(common, written, there).sum(axis=1) / orders
        recall = _shares(common, expected, there).sum(axis=1) / orders
        weighed = BETA**2 * precision + recall
        return 100 * (1 + BETA**2) * _shares(precision * recall, weighed, weighed > 0)

    def _statistics(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Counted once for all the blocks in which the same records are resampled."""
        if self._counted is None or self._counted[0] is not records:
            self._counted = records, statistics(records)
        return self._counted[1]


def statistics(records: Sequence[Record]) -> NDArray[np.float64]:
    """[rows, ORDERS, 3]: n-grams written, expected, and in both, each as often as it occurs."""
    rows = [[_compare(row.predicted, row.expected, order + 1) for order in range(ORDERS)] for row in records]
    return np.array(rows, dtype=float)


def _compare(predicted: str, expected: str, order: int) -> tuple[int, int, int]:
    """What is written where so long an n-gram cannot be expected does not count, as in sacreBLEU."""
    written, wanted = _ngrams(predicted, order), _ngrams(expected, order)
    return written.total() if wanted else 0, wanted.total(), (written & wanted).total()


def _ngrams(text: str, order: int) -> Counter[str]:
    characters = "".join(text.split())
    return Counter(characters[start : start + order] for start in range(len(characters) - order + 1))


def _shares(
    part: NDArray[np.float64], whole: NDArray[np.float64], where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """part / whole, and 0 where not `where`."""
    share: NDArray[np.float64] = np.divide(part, whole, out=np.zeros_like(part), where=where)
    return share
