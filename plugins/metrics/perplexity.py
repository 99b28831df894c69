"""Perplexity: exp(negative log-likelihood in nats / tokens), both summed over all rows; lower is better.

Two candidates are compared by the ratio of their perplexities, that is by the difference of their mean
negative log-likelihood per token: a margin of 0.03 allows a perplexity that is 3 % higher.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.errors import PluginError
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [Perplexity]


class Perplexity(Metric):
    name = "perplexity"
    higher_is_better = False
    relative = True

    def value(self, records: Sequence[Record]) -> float:
        once = np.ones((1, len(records)))
        return float(self.resampled(records, once)[0])

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        nats = np.array([negative_log_likelihood(record) for record in records])  # [rows]
        tokens = np.array([record.tokens for record in records], dtype=float)  # [rows]
        per_token: NDArray[np.float64] = np.exp((counts @ nats) / (counts @ tokens))
        return per_token


def negative_log_likelihood(record: Record) -> float:
    if record.negative_log_likelihood is None:
        raise PluginError(
            f"metric 'perplexity': row {record.id!r} has no negative log-likelihood; "
            "it judges tasks that are answered by likelihood, such as `text`. "
            "Set `choose.metric` to a metric of this task."
        )
    return record.negative_log_likelihood
