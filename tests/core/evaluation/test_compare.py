"""Paired differences by hand, against scipy, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import ttest_rel
from stepladder.core.errors import StepError
from stepladder.core.evaluation.compare import _of_binary, mcnemar, paired
from stepladder.plugins.metrics.macro_f1 import MacroF1
from stepladder.plugins.metrics.perplexity import Perplexity


def test_binary_scores_by_hand(share, said):
    ours, theirs = said([1, 1, 1, 1, 1, 0, 0, 0]), said([1, 0, 0, 0, 1, 1, 0, 0])
    difference = paired(share, ours, theirs)
    assert difference.value == pytest.approx(2 / 8)
    assert difference.standard_error == pytest.approx(np.std([0, 1, 1, 1, 0, -1, 0, 0], ddof=1) / 8**0.5)
    assert difference.p_value == pytest.approx(2 * (1 + 4) / 2**4)
    spread = 6 / 10 - (2 / 10) ** 2
    assert difference.low == pytest.approx(0.2 - 1.959964 * (spread / 10) ** 0.5)
    assert difference.high == pytest.approx(0.2 + 1.959964 * (spread / 10) ** 0.5)


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(9, 1, 22 / 1024), (0, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64)]
)
def test_mcnemar_is_the_exact_two_sided_test(better, worse, p):
    assert mcnemar(better, worse) == pytest.approx(p)


def test_agreement_on_few_rows_proves_little(share, said):
    few, many = (paired(share, said([1] * rows), said([1] * rows)) for rows in (5, 2_000))
    assert few.value == few.standard_error == 0
    assert (few.low, few.high) == pytest.approx((-0.3960, 0.3960), abs=1e-4)
    assert many.high < 0.002
    assert few.rows_to_settle(0.03) > 5
    assert many.rows_to_settle(0.03) < 2_000


def test_a_single_row_compares_without_a_warning(share, mean_error, said):
    binary = paired(share, said([1]), said([0]))
    assert (binary.value, binary.standard_error) == (1.0, 0.0)
    assert binary.low < 0 < binary.high
    other = paired(mean_error, said([0.5]), said([0.7]))
    assert other.value == pytest.approx(0.2)
    assert other.rows_to_settle(0.03) == 100


def test_other_row_scores_agree_with_the_paired_t_test(mean_error, said):
    random = np.random.default_rng(2)
    ours, theirs = random.random(25), random.random(25)
    difference = paired(mean_error, said(ours), said(theirs))
    oracle = ttest_rel(theirs, ours).confidence_interval(0.95)
    assert difference.value == pytest.approx(np.mean(theirs - ours)), "lower is better: theirs minus ours"
    assert (difference.low, difference.high) == pytest.approx((oracle.low, oracle.high))
    assert difference.p_value is None


def test_perplexities_differ_by_their_likelihood_per_token(likelihoods):
    random = np.random.default_rng(5)
    tokens = random.integers(20, 60, size=300)
    worse = tokens * random.gamma(20, 0.15, size=300)
    better = worse - tokens * random.normal(0.04, 0.1, size=300)
    difference = paired(Perplexity(), likelihoods(better, tokens), likelihoods(worse, tokens))
    gap = (worse - better).sum() / tokens.sum()
    assert difference.value == pytest.approx(gap)
    residual = (worse - better) - gap * tokens
    by_delta_method = np.sqrt((residual**2).sum()) / tokens.sum()
    assert difference.standard_error == pytest.approx(by_delta_method, rel=0.08)
    assert difference.low < gap < difference.high


def test_macro_f1_is_compared_by_a_paired_bootstrap(said):
    ours = said([0] * 30)
    same = paired(MacroF1(), ours, said([0] * 30))
    assert (same.value, same.low, same.high, same.standard_error) == (0, 0, 0, 0)
    lower = paired(MacroF1(), said([0] * 25 + [1] * 5), ours)
    assert lower.value == pytest.approx(2 * 25 / 55 / 2 - 1)
    assert lower.low <= lower.value <= lower.high < 0
    assert lower.p_value is None


def test_rows_to_settle_is_where_the_interval_shrinks_to_the_margin(mean_error, said):
    random = np.random.default_rng(9)
    difference = paired(mean_error, said(random.random(100)), said(random.random(100)))
    needed = difference.rows_to_settle(0.03)
    reach = 1.959964 * (difference.spread / np.array([needed - 1, needed])) ** 0.5
    assert reach[1] <= 0.03 < reach[0]


@pytest.mark.parametrize("theirs", [["row-0"], ["row-1", "row-0"]])
def test_other_rows_cannot_be_compared(share, said, theirs):
    two = said([1, 0])
    with pytest.raises(StepError, match="same rows"):
        paired(share, two, [next(each for each in two if each.id == name) for name in theirs])


@settings(max_examples=60, deadline=None)
@given(some.lists(some.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=300))
def test_the_interval_of_binary_scores_includes_the_difference(differences):
    of = _of_binary(np.array(differences))
    assert -1 <= of.low <= of.value <= of.high <= 1
    assert of.spread > 0
