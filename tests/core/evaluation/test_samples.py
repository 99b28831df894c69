"""Samples as records hold them, and the classifier that is fitted to the real rows of the same records."""

from __future__ import annotations

import numpy as np
import pytest
from stepladder.core.data.numbers import vector_as_text
from stepladder.core.evaluation.samples import Classifier, Samples, comparable, samples_of
from stepladder.core.types import Record


def record(label: str, real, sampled) -> Record:
    texts = [each if isinstance(each, str) else vector_as_text(map(float, each)) for each in (real, sampled)]
    return Record(f"{label}{texts}", texts[0], label, texts[1])


ROWS = [record(label, [place, 0], [0, place]) for place, label in enumerate("aabb")]


def test_records_become_arrays_in_their_order():
    samples = samples_of(ROWS)
    assert samples.real.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert samples.sampled.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert samples.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:3],  # a label with one row
        ROWS[:2],  # one label
        [*ROWS[:3], record("b", [3, 0], "a nice 3")],
        [*ROWS[:3], record("b", [3, 0], [0, 3, 0])],
    ],
)
def test_what_cannot_be_compared(rows):
    assert comparable(ROWS)
    assert not comparable(rows)


def clouds(rows: int, seed: int) -> Samples:
    """Two round clouds of deviation 1 in four dimensions, 8 apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    real = random.standard_normal((rows, 4)) + 8 * labels[:, None] * np.eye(4)[0]
    return Samples(real, real, labels)


def test_the_classifier_accepts_new_rows_of_the_label_and_nothing_that_is_like_none():
    classifier, new = Classifier.of(clouds(400, 0)), clouds(400, 1)
    assert classifier.accepts(new.real, new.labels).mean() > 0.95
    assert classifier.accepts(new.real, 1 - new.labels).sum() == 0
    # Far out, where an ordinary classifier is the surest of all.
    beyond = new.real + np.where(new.labels, 20, -20)[:, None] * np.eye(4)[0]
    assert (classifier.analysis.predict(beyond) == new.labels).all()
    assert classifier.accepts(beyond, new.labels).sum() == 0


def test_one_in_a_hundred_of_the_real_rows_lies_too_far():
    samples = clouds(400, 0)
    assert 0.985 <= Classifier.of(samples).accepts(samples.real, samples.labels).mean() <= 0.99
