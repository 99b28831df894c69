"""The calibration error by hand, against scikit-learn's calibration curve, and where there are no scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from stepladder.core.errors import PluginError
from stepladder.core.evaluation.intervals import measure
from stepladder.core.evaluation.score import evaluate
from stepladder.core.types import Record
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.metrics.calibration_error import BINS, CalibrationError, confidence

METRIC = CalibrationError()


def record(probability: float, right: bool, shift: float = 0.0) -> Record:
    """Sure to this degree of "a"; scores need not be normalised."""
    scores = {"a": math.log(probability) + shift, "b": math.log1p(-probability) + shift}
    return Record("r", "", "a" if right else "b", "a", scores)


def test_by_hand():
    rows = [record(0.95, True), record(0.95, False), record(0.65, True), record(0.61, True)]
    assert METRIC.value(rows) == pytest.approx((abs(1 - 1.9) + abs(1 - 0.65) + abs(1 - 0.61)) / 4)
    assert METRIC.details(rows) == [
        {"above": 9 / 15, "to": 10 / 15, "rows": 2, "confidence": pytest.approx(0.63), "accuracy": 1.0},
        {"above": 14 / 15, "to": 1.0, "rows": 2, "confidence": pytest.approx(0.95), "accuracy": 0.5},
    ]


@pytest.mark.parametrize("rows", [1, 2, 30, 500])
def test_it_equals_what_scikit_learns_curve_gives(rows):
    random = np.random.default_rng(rows)
    confidences = random.uniform(1e-6, 1 - 1e-6, rows)
    right = random.random(rows) < confidences**2
    shifts = random.normal(size=rows) * 50
    records = [record(*row) for row in zip(confidences, right, shifts, strict=True)]
    accuracy, mean = calibration_curve(right, confidences, n_bins=BINS, strategy="uniform")
    sizes = np.bincount(np.digitize(confidences, np.linspace(0, 1, BINS + 1)))
    oracle = (np.abs(accuracy - mean) * sizes[sizes > 0]).sum() / rows
    assert METRIC.value(records) == pytest.approx(oracle, abs=1e-9)
    bins = METRIC.details(records)
    assert [each["accuracy"] for each in bins] == pytest.approx(accuracy.tolist())
    assert [each["confidence"] for each in bins] == pytest.approx(mean.tolist(), abs=1e-9)
    assert sum(each["rows"] for each in bins) == rows


def test_always_the_same_confidence_is_one_bin():
    rows = [record(0.8, right) for right in (True, True, True, False)]
    assert METRIC.value(rows) == pytest.approx(0.05)
    assert len(METRIC.details(rows)) == 1


def test_many_resamples_at_once_equal_one_by_one():
    random = np.random.default_rng(0)
    records = [record(p, bool(random.integers(2))) for p in random.uniform(0.1, 0.9, 12)]
    counts = random.multinomial(12, np.full(12, 1 / 12), size=20)
    one_by_one = [
        METRIC.value([row for row, times in zip(records, drawn, strict=True) for _ in range(times)])
        for drawn in counts
    ]
    assert METRIC.resampled(records, counts.astype(float)) == pytest.approx(one_by_one)


@pytest.mark.parametrize(
    "scores, expected", [({"a": 0.0, "b": -1e4}, 1.0), ({"a": -1e4, "b": 0.0}, 0.0), ({"a": -3.0}, 1.0)]
)
def test_scores_far_apart_are_no_trouble(scores, expected):
    assert confidence(Record("r", "", "a", "a", scores)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scores", [None, {}, {"b": 0.0}])
def test_without_a_score_of_the_answer_there_is_no_figure(scores):
    rows = [record(0.9, True), Record("r7", "", "a", "a", scores)]
    assert not METRIC.applies(rows)
    assert list(evaluate(rows, [Accuracy(), METRIC])) == ["accuracy"]
    with pytest.raises(PluginError, match=r"'r7' has no score.*choose\.metric"):
        measure(METRIC, rows)
