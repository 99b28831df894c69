"""The built-in metrics, on exact values and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score
from stepladder.core.errors import PluginError
from stepladder.core.types import Record
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.metrics.exact_match import ExactMatch
from stepladder.plugins.metrics.macro_f1 import MacroF1
from stepladder.plugins.metrics.perplexity import Perplexity
from stepladder.plugins.metrics.token_f1 import TokenF1


def record(expected: str, predicted: str, **figures) -> Record:
    return Record(id=f"{expected}/{predicted}", input="", expected=expected, predicted=predicted, **figures)


def test_accuracy_is_the_share_of_equal_answers():
    rows = [record("yes", "yes"), record("yes", "no"), record("no", "no"), record("no", "No")]
    assert [Accuracy().row(row) for row in rows] == [1.0, 0.0, 1.0, 0.0]
    assert Accuracy().value(rows) == 0.5


@pytest.mark.parametrize(
    ("expected", "predicted", "score"),
    [
        ("the  cat\n", " the cat", 1.0),
        ("the cat", "The cat", 0.0),
        ("the cat", "the cat.", 0.0),
        ("", " \n", 1.0),
    ],
)
def test_exact_match_ignores_white_space_only(expected, predicted, score):
    assert ExactMatch().row(record(expected, predicted)) == score


@pytest.mark.parametrize(
    ("expected", "predicted", "score"),
    [
        ("The black cat!", "a black cat", 1.0),
        ("black cat", "black dog runs", 2 * 1 / (2 + 3)),
        ("no no yes", "no", 2 * 1 / (3 + 1)),
        ("cat", "dog", 0.0),
        ("the", "a", 1.0),
        ("cat", "", 0.0),
        ("", "cat", 0.0),
    ],
)
def test_token_f1_of_a_row(expected, predicted, score):
    assert TokenF1().row(record(expected, predicted)) == pytest.approx(score)


def test_token_f1_is_the_mean_of_its_rows():
    rows = [record("cat", "cat"), record("black cat", "black dog runs")]
    assert TokenF1().value(rows) == pytest.approx((1 + 0.4) / 2)


def test_macro_f1_by_hand():
    rows = [record("a", "a"), record("a", "b"), record("b", "b"), record("c", "d")]
    assert MacroF1().value(rows) == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)


@pytest.mark.parametrize(("rows", "labels"), [(1, 2), (30, 2), (200, 7), (100, 90)])
def test_macro_f1_equals_scikit_learn(rows, labels):
    random = np.random.default_rng(rows)
    expected = random.integers(labels, size=rows).astype(str)
    predicted = np.where(
        random.random(rows) < 0.6, expected, random.integers(labels + 3, size=rows).astype(str)
    )
    records = [record(right, said) for right, said in zip(expected, predicted, strict=True)]
    oracle = f1_score(expected, predicted, average="macro", zero_division=0)
    assert MacroF1().value(records) == pytest.approx(oracle, abs=1e-12)


def test_perplexity_weighs_rows_by_their_tokens():
    rows = [
        record("", "", negative_log_likelihood=10.0, tokens=4),
        record("", "", negative_log_likelihood=2.0, tokens=2),
    ]
    assert Perplexity().value(rows) == pytest.approx(math.exp(12 / 6))
    assert not Perplexity.higher_is_better


def test_perplexity_of_a_task_without_likelihoods_is_refused():
    with pytest.raises(PluginError, match=r"'perplexity'.*'yes/no'.*choose\.metric"):
        Perplexity().value([record("yes", "no")])


@pytest.mark.parametrize("metric", [MacroF1(), Perplexity()])
def test_many_resamples_at_once_equal_one_by_one(metric):
    random = np.random.default_rng(0)
    records = [
        record(str(random.integers(4)), str(random.integers(4)), negative_log_likelihood=nats, tokens=tokens)
        for nats, tokens in zip(random.gamma(2, size=12), random.integers(1, 9, size=12), strict=True)
    ]
    counts = random.multinomial(12, np.full(12, 1 / 12), size=20)
    one_by_one = [
        metric.value([row for row, times in zip(records, drawn, strict=True) for _ in range(times)])
        for drawn in counts
    ]
    assert metric.resampled(records, counts.astype(float)) == pytest.approx(one_by_one)
