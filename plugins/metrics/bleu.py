"""BLEU: how much of the written answers' n-grams of words, n from 1 to 4, the expected ones have; 0 to 100.

Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation". It is
sacreBLEU's (Post 2018, "A Call for Clarity in Reporting BLEU Scores") with its defaults: tokenizer 13a,
exponential smoothing, one figure for all rows together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

ORDERS = 4


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [Bleu]


class Bleu(Metric):
    name = "bleu"
    scale = 100.0

    def __init__(self) -> None:
        self._counted: tuple[Sequence[Record], NDArray[np.float64]] | None = None

    def value(self, records: Sequence[Record]) -> float:
        predicted, expected = [row.predicted for row in records], [row.expected for row in records]
        return float(BLEU(force=True).corpus_score(predicted, [expected]).score)

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = (counts @ self._statistics(records)).astype(int)
        return np.array([_figure(row) for row in sums.tolist()])

    def _statistics(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Counted once for all the blocks in which the same records are resampled."""
        if self._counted is None or self._counted[0] is not records:
            self._counted = records, statistics(records)
        return self._counted[1]


def statistics(records: Sequence[Record]) -> NDArray[np.float64]:
    """[rows, 2 + 2 * ORDERS]: words written and expected, n-grams that are right, n-grams written."""
    bleu = BLEU(effective_order=True)  # as sacreBLEU wants it for single rows; the counts are the same
    scores = [bleu.sentence_score(record.predicted, [record.expected]) for record in records]
    rows = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]
    return np.array(rows, dtype=float)


def _figure(sums: list[int]) -> float:
    written, expected, right, total = sums[0], sums[1], sums[2 : 2 + ORDERS], sums[2 + ORDERS :]
    return float(BLEU.compute_bleu(right, total, written, expected, smooth_method="exp").score)
