"""Evidence lower bound: the least that the log-density of a row is to the model, in nats; the mean over rows.

Kingma and Welling 2014, arXiv:1312.6114, eq. 2. Of candidates that give their rows a density; it is that of
the numbers in their own units, and of all of a row together.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [EvidenceBound]


class EvidenceBound(Metric):
    name = "evidence_bound"

    def applies(self, records: Sequence[Record]) -> bool:
        return all(record.negative_log_likelihood is not None for record in records)

    def row(self, record: Record) -> float | None:
        bound = record.negative_log_likelihood
        return None if bound is None else -bound
