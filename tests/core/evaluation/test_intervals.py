"""Intervals against published values, exact coverage and each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from stepladder.core.evaluation.intervals import RESAMPLES, bootstrap, draws, measure, wilson
from stepladder.core.metric import Metric
from stepladder.plugins.metrics.macro_f1 import MacroF1
from stepladder.plugins.metrics.perplexity import Perplexity


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_wilson_as_published_by_newcombe_1998(hits, rows, low, high):
    interval = wilson(hits, rows)
    assert interval.value == hits / rows
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("rows", [10, 40, 240])
def test_wilson_covers_the_truth_about_95_times_in_100(rows):
    hits = np.arange(rows + 1)
    intervals = [wilson(int(each), rows) for each in hits]
    low, high = np.array([i.low for i in intervals]), np.array([i.high for i in intervals])
    truths = np.linspace(0.05, 0.95, 91)
    coverage = [binom.pmf(hits, rows, p)[(low <= p) & (p <= high)].sum() for p in truths]
    assert 0.94 < np.mean(coverage) < 0.97
    assert min(coverage) > 0.83


def test_binary_row_scores_get_wilson(share, said):
    assert measure(share, said([1] * 9 + [0])) == wilson(9, 10)


def test_other_row_scores_get_a_bootstrap_of_their_mean(mean_error, said):
    figures = np.random.default_rng(3).gamma(2.0, size=400)
    interval = measure(mean_error, said(figures))
    error = figures.std(ddof=1) / np.sqrt(400)
    assert interval.value == pytest.approx(figures.mean())
    assert interval.low == pytest.approx(figures.mean() - 1.96 * error, abs=0.3 * error)
    assert interval.high == pytest.approx(figures.mean() + 1.96 * error, abs=0.3 * error)
    assert measure(mean_error, said(figures)) == interval


def test_a_metric_that_only_gives_value_is_resampled_too(largest, said):
    interval = measure(largest, said([1.0, 2.0, 5.0]))
    assert (interval.value, interval.low, interval.high) == (5.0, 1.0, 5.0)


def test_fast_and_slow_bootstrap_are_the_same(likelihoods):
    class Slow(Metric):
        name = "slow"

        def value(self, records):
            return Perplexity().value(records)

    records = likelihoods([3.0, 9.0, 4.0, 8.0], [2, 3, 4, 5])
    assert bootstrap(Slow(), records) == pytest.approx(bootstrap(Perplexity(), records))


def test_a_metric_without_value_or_row_says_so(said):
    class Empty(Metric):
        name = "empty"

    with pytest.raises(NotImplementedError, match="'empty'"):
        measure(Empty(), said([1.0]))


def test_the_interval_includes_the_value_where_resamples_lean_to_one_side(said):
    records = said(range(60))  # macro F1 over 61 labels, each seen once: resamples only lose labels
    interval = measure(MacroF1(), records)
    assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize("rows", [1, 7, 9_000])
def test_draws_are_a_thousand_resamples_of_all_rows_in_blocks(rows):
    blocks = list(draws(rows))
    assert sum(len(block) for block in blocks) == RESAMPLES
    assert all((block.sum(axis=1) == rows).all() for block in blocks)
    assert len(blocks) == (3 if rows == 9_000 else 1)
    assert all((again == block).all() for again, block in zip(draws(rows), blocks, strict=True))
