"""The metrics of samples: by hand where a hand can, else by their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
from stepladder.core.data.numbers import vector_as_text
from stepladder.core.evaluation.intervals import measure
from stepladder.core.types import Record
from stepladder.plugins.metrics.acceptance import Acceptance
from stepladder.plugins.metrics.diversity import Diversity, covered_rows
from stepladder.plugins.metrics.evidence_bound import EvidenceBound
from stepladder.plugins.metrics.frechet_distance import FrechetDistance, frechet, moments
from stepladder.plugins.metrics.reconstruction_error import ReconstructionError


def records(sampled, rows: int = 60) -> list[Record]:
    """Rows of two clouds in three dimensions; `sampled(random, label)` is the sample for each."""
    random = np.random.default_rng(0)
    made = []
    for place in range(rows):
        label = place % 2
        real = random.standard_normal(3) + 8 * label
        texts = [vector_as_text(each.tolist()) for each in (real, sampled(random, label))]
        made.append(Record(str(place), texts[0], "ab"[label], texts[1]))
    return made


def alike(random, label):
    return random.standard_normal(3) + 8 * label


def one_for_all(random, label):
    return np.full(3, 8.0 * label)


def between(random, label):
    return random.standard_normal(3) + 4


def swapped(random, label):
    return random.standard_normal(3) + 8 * (1 - label)


def test_good_samples_are_accepted_near_and_various():
    rows = records(alike)
    assert Acceptance().value(rows) > 0.9
    assert FrechetDistance().value(rows) < 1
    assert Diversity().value(rows) > 0.8


def test_the_same_sample_for_every_row_is_accepted_and_not_various():
    rows = records(one_for_all)
    assert Acceptance().value(rows) == 1
    assert Diversity().value(rows) < 0.5


def test_samples_that_lie_between_the_labels_are_far_from_both():
    rows = records(between)
    assert Acceptance().value(rows) < 0.1
    assert FrechetDistance().value(rows) > 10
    assert Diversity().value(rows) < 0.2


def test_samples_of_another_label_than_asked_are_not_accepted():
    rows = records(swapped)
    assert Acceptance().value(rows) == 0
    assert Diversity().value(rows) > 0.8, "it asks for no label"


@pytest.mark.parametrize("metric", [Acceptance, FrechetDistance, Diversity])
def test_an_interval_holds_the_figure(metric):
    figure = measure(metric(), records(alike))
    assert figure.low <= figure.value <= figure.high
    assert figure.low < figure.high


@pytest.mark.parametrize("metric", [Acceptance, FrechetDistance, Diversity])
def test_they_do_not_apply_to_words(metric):
    assert not metric().applies([Record("1", "a", "b", "c"), Record("2", "a", "b", "c")])


def test_moments_are_those_of_the_rows_as_often_as_they_were_drawn():
    features = np.random.default_rng(0).standard_normal((6, 3)) + 100
    counts = np.array([[1, 1, 1, 1, 1, 1], [0, 3, 1, 0, 2, 0]], dtype=float)
    means, covariances = moments(features, counts)
    for mean, covariance, times in zip(means, covariances, counts.astype(int), strict=True):
        drawn = np.repeat(features, times, axis=0)
        np.testing.assert_allclose(mean, drawn.mean(0), rtol=1e-12)
        np.testing.assert_allclose(covariance, np.cov(drawn.T), rtol=1e-9, atol=1e-9)


def test_the_distance_of_gaussians_whose_axes_agree_is_that_of_means_and_deviations():
    one, other = np.diag([4.0, 9.0, 0.0]), np.diag([1.0, 9.0, 1.0])
    distance = frechet(np.zeros(3), one, np.array([3.0, 0, 0]), other)
    assert distance == pytest.approx(9 + (2 - 1) ** 2 + 0 + 1, abs=1e-12)
    assert frechet(np.ones(3), one, np.ones(3), one) == pytest.approx(0, abs=1e-12)


def test_a_row_is_covered_by_a_sample_nearer_than_its_fifth_nearest_row():
    real = np.array([[0.0], [1], [2], [3], [4], [5], [20]])  # reaches: 5 4 3 3 4 5, and 19 of the last
    assert covered_rows(real, np.array([[-4.5]])).tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert covered_rows(real, np.array([[39.0]])).tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_errors_and_bounds_are_what_the_candidate_told():
    told = [
        Record(
            str(place), "[1]", "a", "[1]", negative_log_likelihood=nats, figures={"reconstruction_error": e}
        )
        for place, (nats, e) in enumerate([(3.0, 0.5), (-5.0, 1.5)])
    ]
    untold = Record("3", "[1]", "a", "[1]")
    assert (EvidenceBound().value(told), ReconstructionError().value(told)) == (1.0, 1.0)
    for metric in (EvidenceBound(), ReconstructionError()):
        assert metric.applies(told)
        assert not metric.applies([*told, untold])
