"""Diversity: the share of real rows in whose neighbourhood a sample lies, the coverage of Naeem et al. 2020.

"Reliable Fidelity and Diversity Metrics for Generative Models", arXiv:2002.09797, in the vectors' own
numbers. The neighbourhood of a row reaches to its fifth nearest row. The spread of samples alone would
praise noise. Intervals are over real rows, with neighbourhoods and samples as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ...core.evaluation.samples import comparable, samples_of
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

NEAREST = 5


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [Diversity]


class Diversity(Metric):
    name = "diversity"

    def applies(self, records: Sequence[Record]) -> bool:
        return len(records) > NEAREST and comparable(records)

    def value(self, records: Sequence[Record]) -> float:
        return float(self.resampled(records, np.ones((1, len(records))))[0])

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        samples = samples_of(records)
        covered = covered_rows(samples.real, samples.sampled)
        shares: NDArray[np.float64] = counts @ covered / counts.sum(axis=1)
        return shares


def covered_rows(real: NDArray[np.float64], sampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n]: 1 for rows real [n, numbers] with one of sampled [m, numbers] near, else 0."""
    reach = np.sort(cdist(real, real), axis=1)[:, NEAREST]  # the nearest of all is the row itself
    covered: NDArray[np.float64] = (cdist(real, sampled).min(1) <= reach).astype(float)
    return covered
