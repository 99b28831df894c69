"""Samples against the real rows of the same records, and a classifier that is independent of who made them.

The classifier is fitted to the records' own real vectors, which are of rows that no method was fitted to:
linear discriminant analysis (Fisher 1936; the covariance of Ledoit and Wolf 2004). It may say that a vector
is of no label at all (the reject option of Chow 1970): one that lies farther from its label's mean, by that
covariance, than all but 1 % of the real rows do. Without that a classifier accepts much that is like no
row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..data.numbers import vector_in
from ..types import Record
from .intervals import Array

FARTHEST = 0.99
FEWEST_ROWS = 2


@dataclass(frozen=True)
class Samples:
    """real [n, numbers], sampled [n, numbers], the places of the asked labels [n]."""

    real: Array
    sampled: Array
    labels: NDArray[np.intp]


def samples_of(records: Sequence[Record]) -> Samples:
    """For records that `comparable` is true of."""
    real, sampled = ([vector_in(text) for text in texts] for texts in _texts(records))
    labels = np.unique([record.expected for record in records], return_inverse=True)[1]
    return Samples(np.array(real), np.array(sampled), labels)


def comparable(records: Sequence[Record]) -> bool:
    """Whether all are vectors of one length, of at least two labels with at least two rows each."""
    lengths = {len(vector_in(text)) for texts in _texts(records) for text in texts}
    rows = Counter(record.expected for record in records).values()
    return len(lengths) == 1 and 0 not in lengths and len(rows) > 1 and min(rows) >= FEWEST_ROWS


@dataclass(frozen=True)
class Classifier:
    """Fitted by `of`; `precision` is the inverse covariance, `limit` the farthest squared distance."""

    analysis: Any
    precision: Array
    limit: float

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """To the real rows."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        analysis = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
        analysis.fit(samples.real, samples.labels)
        precision = np.linalg.inv(analysis.covariance_)
        own = _distances(samples.real - analysis.means_[samples.labels], precision)
        return cls(analysis, precision, float(np.quantile(own, FARTHEST)))

    def accepts(self, vectors: Array, labels: NDArray[np.intp]) -> Array:
        """[n]: 1 where the vector [n, numbers] is taken to be of the label [n], else 0."""
        near = _distances(vectors - self.analysis.means_[labels], self.precision) <= self.limit
        accepted: Array = (near & (self.analysis.predict(vectors) == labels)).astype(float)
        return accepted

    def features(self, vectors: Array) -> Array:
        """[n, labels - 1 at most]: what it tells labels by."""
        features: Array = self.analysis.transform(vectors)
        return features


def _texts(records: Sequence[Record]) -> tuple[list[str], list[str]]:
    return [record.input for record in records], [record.predicted for record in records]


def _distances(offsets: Array, precision: Array) -> Array:
    """Squared Mahalanobis distances [n] of offsets [n, numbers]."""
    distances: Array = ((offsets @ precision) * offsets).sum(1)
    return distances
