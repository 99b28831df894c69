"""Fréchet distance: how far the samples' distribution lies from the real rows', in a classifier's features.

Heusel et al. 2017, arXiv:1706.08500, eq. 6: between Gaussians of the same means and covariances. Their
features are those of a network for photographs; here they are those by which the independent classifier of
core/evaluation/samples.py tells labels. 0 is best. Real rows drawn anew have more than 0 too: it falls with
the number of rows, so it compares candidates on the same rows only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.evaluation.samples import Classifier, comparable, samples_of
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

Array = NDArray[np.float64]


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [FrechetDistance]


class FrechetDistance(Metric):
    name = "frechet_distance"
    higher_is_better = False
    relative = True

    def applies(self, records: Sequence[Record]) -> bool:
        return comparable(records)

    def value(self, records: Sequence[Record]) -> float:
        return float(self.resampled(records, np.ones((1, len(records))))[0])

    def resampled(self, records: Sequence[Record], counts: Array) -> Array:
        samples = samples_of(records)
        classifier = Classifier.of(samples)
        real, sampled = (
            moments(classifier.features(each), counts) for each in (samples.real, samples.sampled)
        )
        return frechet(*real, *sampled)


def moments(features: Array, counts: Array) -> tuple[Array, Array]:
    """Means [resamples, f] and covariances [resamples, f, f]: features [n, f], counts [resamples, n]."""
    rows = counts.sum(axis=1)[:, None]
    centred = features - features.mean(0)  # squares of what lies far from 0 would lose their differences
    means = counts @ centred / rows
    outer = (centred[:, :, None] * centred[:, None, :]).reshape(len(features), -1)
    squares = (counts @ outer / rows).reshape(len(counts), *2 * features.shape[1:])
    covariances = (squares - means[:, :, None] * means[:, None, :]) * (rows / (rows - 1))[:, :, None]
    return means + features.mean(0), covariances


def frechet(mean: Array, covariance: Array, other_mean: Array, other_covariance: Array) -> Array:
    """Means [..., f] and covariances [..., f, f] to distances [...]."""
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    cross = np.sqrt(np.linalg.eigvalsh(root @ other_covariance @ root).clip(0)).sum(-1)
    spread = np.trace(covariance, axis1=-2, axis2=-1) + np.trace(other_covariance, axis1=-2, axis2=-1)
    distance: Array = np.square(mean - other_mean).sum(-1) + spread - 2 * cross
    return distance.clip(0)
