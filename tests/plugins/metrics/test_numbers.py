"""Mean absolute error, R2 and Spearman's correlation against scikit-learn and scipy, and at their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score
from stepladder.core.evaluation.compare import paired
from stepladder.core.types import Record
from stepladder.plugins.metrics.mean_absolute_error import MeanAbsoluteError
from stepladder.plugins.metrics.r2 import R2
from stepladder.plugins.metrics.spearman import Spearman

METRICS = {
    "mean_absolute_error": (MeanAbsoluteError(), mean_absolute_error),
    "r2": (R2(), r2_score),
    "spearman": (Spearman(), lambda expected, predicted: spearmanr(expected, predicted).statistic),
}
each_metric = pytest.mark.parametrize("metric, oracle", METRICS.values(), ids=METRICS)


def records(expected, predicted) -> list[Record]:
    return [
        Record(f"r{place}", "", str(right), str(said))
        for place, (right, said) in enumerate(zip(expected, predicted, strict=True))
    ]


def drawn(kind: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(rows)
    expected = random.normal(size=rows)
    predicted = expected + random.normal(size=rows)
    if kind == "ties":
        return np.round(expected * 2) / 2, np.round(predicted)
    if kind == "far from zero":
        return expected + 1e9, predicted + 1e9
    return expected, predicted


@each_metric
@pytest.mark.parametrize("kind", ["plain", "ties", "far from zero"])
@pytest.mark.parametrize("rows", [2, 3, 50, 400])
def test_figures_equal_the_library(metric, oracle, kind, rows):
    expected, predicted = drawn(kind, rows)
    figure = metric.value(records(expected.tolist(), predicted.tolist()))
    assert figure == pytest.approx(oracle(expected, predicted), rel=1e-12, abs=1e-12)


@each_metric
def test_constant_expected_numbers(metric, oracle):
    for predicted in ([4.0, 4.0, 4.0], [4.0, 3.0, 4.0]):
        figure = metric.value(records([4.0] * 3, predicted))
        library = 0.0 if oracle is METRICS["spearman"][1] else oracle([4.0] * 3, predicted)
        assert figure == pytest.approx(library, abs=1e-12)


@each_metric
def test_constant_predictions(metric, oracle):
    expected, predicted = [1.0, 2.0, 4.5], [2.0, 2.0, 2.0]
    library = 0.0 if oracle is METRICS["spearman"][1] else oracle(expected, predicted)
    assert metric.value(records(expected, predicted)) == pytest.approx(library, abs=1e-12)


@pytest.mark.parametrize(
    "name, right, wrong", [("mean_absolute_error", 0, 2), ("r2", 1, 0), ("spearman", 0, 0)]
)
def test_one_row(name, right, wrong):
    metric, _ = METRICS[name]
    assert metric.value(records([3], [3])) == right
    assert metric.value(records([3], [5])) == wrong


@each_metric
def test_many_resamples_at_once_equal_one_by_one(metric, oracle):
    expected, predicted = drawn("ties", 9)
    rows = records(expected.tolist(), predicted.tolist())
    counts = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=200)
    counts[0] = 9 * (np.arange(9) == 4)
    one_by_one = [
        metric.value([row for row, times in zip(rows, drawn, strict=True) for _ in range(times)])
        for drawn in counts
    ]
    figures = metric.resampled(rows, counts.astype(float))
    assert np.isfinite(figures).all()
    assert figures == pytest.approx(one_by_one, abs=1e-9)


# --- answers that are no number ---


@pytest.mark.parametrize("expected, counted", [([0, 4, 10], [10, 14, 0]), ([0, 6, 10], [10, -4, 0])])
def test_no_number_is_off_by_the_whole_range(expected, counted):
    rows = records(expected, ["no idea"] * 3)
    assert MeanAbsoluteError().value(rows) == 10
    assert R2().value(rows) == pytest.approx(r2_score(expected, counted))
    assert Spearman().value(rows) == pytest.approx(spearmanr(expected, counted).statistic)


@each_metric
def test_saying_nothing_is_worse_than_any_number_within_the_range(metric, oracle):
    expected = [0, 4, 10]
    silent = metric.value(records(expected, [1, "", 9]))
    spoken = [metric.value(records(expected, [1, number, 9])) for number in (0, 3, 7, 10)]
    assert all(silent > each if not metric.higher_is_better else silent <= each for each in spoken)


def test_no_number_where_all_expected_numbers_are_the_same_is_off_by_one():
    assert MeanAbsoluteError().value(records([5, 5], ["", 5])) == 0.5
    assert R2().value(records([5], ["none"])) == 0


def test_a_row_without_a_number_has_no_score_of_its_own():
    with_number, without = records([5, 5], ["5.5", "high"])
    assert MeanAbsoluteError().row(with_number) == 0.5
    assert MeanAbsoluteError().row(without) is None


# --- comparing ---


def test_errors_are_compared_by_their_ratio_also_where_one_is_none():
    expected = list(range(40))
    half, whole = (records(expected, [x + off * (-1) ** x for x in expected]) for off in (0.5, 1))
    assert paired(MeanAbsoluteError(), half, whole).value == pytest.approx(math.log(2))
    perfect = records(expected, expected)
    assert paired(MeanAbsoluteError(), perfect, perfect).value == 0
    difference = paired(MeanAbsoluteError(), perfect, whole)
    assert difference.low > 3 and math.isfinite(difference.high)
