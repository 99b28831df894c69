"""The choice and the words it is told in."""

from __future__ import annotations

import numpy as np
import pytest
from stepladder.core.evaluation.choose import Contender, Rule, choose
from stepladder.plugins.metrics.macro_f1 import MacroF1
from stepladder.plugins.metrics.perplexity import Perplexity


@pytest.fixture
def contender(said):
    def make(name, rung, scores, parameters=0, **figures):
        return Contender(name, rung, parameters, said(scores), figures)

    return make


def right(count, rows, start=0):
    """Scores of `rows` rows of which `count` are right, from row `start` on."""
    scores = [0] * rows
    scores[start : start + count] = [1] * count
    return scores


def test_a_lower_rung_within_one_standard_error_and_the_margin_is_taken(share, contender):
    low = contender("few_shot", 0.1, right(216, 240, start=15))
    best = contender("lora", 1.5, right(220, 240))
    choice = choose(share, [best, low], Rule())
    assert choice.id == "few_shot"
    assert choice.reason == (
        "few_shot (rung 0.1) is the lowest on the ladder within one standard error and the margin of 0.03 "
        "from the best, lora (rung 1.5): share 0.9 against 0.9167 on 240 validation rows, worse by 0.017 "
        "(95 % interval -0.026 to 0.059, standard error 0.021). This is not settled: about 493 validation "
        "rows instead of 240 would narrow the interval to the margin either way."
    )


def test_nested_errors_are_told_apart_by_few_rows(share, contender):
    """Four rows that only the best has right, and none the other way: two standard errors."""
    low = contender("few_shot", 0.1, right(216, 240))
    best = contender("lora", 1.5, right(220, 240))
    assert choose(share, [best, low], Rule()).id == "lora"


def test_beyond_the_margin_is_too_far_however_wide_the_error(share, contender):
    low = contender("zero_shot", 0, right(11, 20, start=9))
    best = contender("lora", 1.5, right(12, 20))
    choice = choose(share, [low, best], Rule())
    assert choice.id == "lora"
    assert choice.reason.startswith(
        "lora (rung 1.5) is the best (share 0.6 on 20 validation rows), and none lower on the ladder is "
        "within one standard error and the margin of 0.03: the nearest, zero_shot (rung 0), has 0.55, "
        "worse by 0.05"
    )
    assert "This is not settled" in choice.reason
    assert choose(share, [low, best], Rule(margin=0.05)).id == "zero_shot"


def test_a_clear_lead_is_settled(share, contender):
    choice = choose(share, [contender("low", 0, right(5, 40)), contender("high", 2, right(38, 40))], Rule())
    assert choice.id == "high"
    assert "settled" not in choice.reason


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_equal_predictions_go_to_the_lowest_rung(share, contender, rows):
    scores = right(rows - 1, rows)
    choice = choose(share, [contender("full", 2, scores, 9), contender("zero_shot", 0, scores)], Rule())
    assert choice.id == "zero_shot"
    assert choice.reason.startswith("zero_shot (rung 0) is the lowest on the ladder, and none is better")


@pytest.mark.parametrize("rows", [1, 4, 40, 3_000])
def test_one_row_apart_is_one_standard_error_to_the_last_bit(share, contender, rows):
    """A shortfall of 1/n with a standard error of 1/n: in reach as soon as the margin allows it."""
    low, best = contender("low", 0, right(rows - 1, rows)), contender("high", 1, right(rows, rows))
    assert choose(share, [low, best], Rule()).id == ("low" if rows >= 40 else "high")


def test_the_margin_itself_is_within_the_margin(share, contender):
    """0.93 - 0.90 is more than 0.03 in binary."""
    low, best = contender("low", 0, right(90, 100, start=10)), contender("high", 1, right(93, 100))
    assert choose(share, [low, best], Rule()).id == "low"


def test_ties_go_to_fewer_parameters_then_to_the_better_figure(share, contender):
    small = contender("r4", 1.5, right(80, 100), 40)
    large = contender("r16", 1.5, right(81, 100), 160)
    twin = contender("twin", 1.5, right(81, 100), 40)
    assert choose(share, [large, small], Rule()).id == "r4"
    assert choose(share, [large, small, twin], Rule()).id == "twin"


def test_candidates_beyond_a_limit_are_out_and_named(share, contender):
    keeps = contender("lora", 1.5, right(80, 100), forgetting=0.01)
    forgets = contender("full", 2, right(95, 100), forgetting=0.2, fit_seconds=12.0)
    unmeasured = contender("probe", 1, right(90, 100))
    choice = choose(
        share, [keeps, forgets, unmeasured], Rule(limits={"forgetting": 0.05}), {"soft_prompt": "failed"}
    )
    assert choice.id == "lora"
    assert choice.reason == (
        "lora (rung 1.5) is the only candidate to choose from: share 0.8 on 100 validation rows. Left out: "
        "soft_prompt (failed); full (forgetting 0.2 is above max_forgetting 0.05); "
        "probe (forgetting was not measured, and max_forgetting is 0.05)."
    )


def test_a_limit_is_inclusive_and_any_cost_can_have_one(share, contender):
    candidate = contender("lora", 1.5, right(80, 100), forgetting=0.05, fit_seconds=60.5)
    assert choose(share, [candidate], Rule(limits={"forgetting": 0.05})).id == "lora"
    choice = choose(share, [candidate], Rule(limits={"fit_seconds": 60}))
    assert (choice.id, choice.reason) == (
        None,
        "Nothing was chosen: no candidate is left. Left out: "
        "lora (fit_seconds 60.5 is above max_fit_seconds 60).",
    )


def test_nobody_and_no_rows(share, contender):
    nobody = choose(share, [], Rule(), {"lora": "failed"})
    assert nobody.id is None
    assert nobody.reason == "Nothing was chosen: no candidate is left. Left out: lora (failed)."
    rowless = choose(share, [contender("lora", 1.5, [])], Rule())
    assert rowless.id is None
    assert "no validation rows" in rowless.reason


def test_lower_is_better_row_scores(mean_error, contender):
    random = np.random.default_rng(0)
    errors = random.random(200)
    close = contender("close", 0, errors + random.normal(0.001, 0.1, 200).clip(-errors))
    far = contender("far", 0.1, errors + 0.5)
    best = contender("best", 2, errors)
    assert choose(mean_error, [best, far, close], Rule(margin=0.05)).id == "close"
    assert choose(mean_error, [best, far], Rule(margin=0.05)).id == "best"


@pytest.mark.parametrize(("gap", "chosen"), [(0.01, "low"), (0.028, "low"), (0.04, "high")])
def test_the_margin_of_perplexity_is_a_share(likelihoods, gap, chosen):
    """Perplexities near 20 are 0.2, 0.57 and 0.8 apart: 1 %, 2.8 % and 4 %."""
    random = np.random.default_rng(1)
    nats = 30 * random.normal(3.0, 0.3, size=50)
    noise = random.normal(0, 0.3, size=50)
    low = likelihoods(nats + 30 * (gap + noise - noise.mean()), [30] * 50)
    choice = choose(
        Perplexity(),
        [Contender("low", 0, 0, low), Contender("high", 2, 0, likelihoods(nats, [30] * 50))],
        Rule(),
    )
    assert choice.id == chosen
    assert "margin of 3 %" in choice.reason
    assert f"worse by {100 * gap:.2g} %" in choice.reason


def test_a_metric_without_row_scores_is_chosen_by_the_bootstrap(contender):
    rare = [0] * 95 + [1] * 5  # expected is 0 everywhere: predicting 1 adds a label that is never right
    low, best = contender("low", 0, rare), contender("high", 1, [0] * 100)
    choice = choose(MacroF1(), [low, best], Rule())
    assert choice.id == "high"
    same = choose(MacroF1(), [contender("low", 0, rare), contender("high", 1, rare)], Rule())
    assert same.id == "low"
