"""The choice and the words it is told in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stepladder.core.evaluation.choose import Contender, Rule, best_of, choose
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


def test_a_lower_rung_that_is_shown_to_be_near_the_best_is_taken(share, contender):
    """Four rows that only the best has right, and none the other way: an error of half the shortfall."""
    low = contender("few_shot", 0.1, right(216, 240))
    best = contender("lora", 1.5, right(220, 240))
    choice = choose(share, [best, low], Rule())
    assert choice.id == "few_shot"
    assert choice.reason == (
        "few_shot (rung 0.1) is the lowest on the ladder that is shown to be within 0.03 of the best, "
        "lora (rung 1.5): share 0.9 against 0.9167 on 240 validation rows, worse by 0.017 "
        "(95 % interval -0.0032 to 0.036, standard error 0.0083)."
    )


def test_as_near_but_unlike_the_best_it_takes_more_rows(share, contender):
    """15 rows that only the lower has right and 19 the other way: shortfall and error exceed the margin."""
    low = contender("few_shot", 0.1, right(216, 240, start=15))
    best = contender("lora", 1.5, right(220, 240))
    choice = choose(share, [best, low], Rule())
    assert choice.id == "lora"
    assert choice.reason == (
        "lora (rung 1.5) is the best (share 0.9167 on 240 validation rows), and none lower on the ladder is "
        "shown to be within 0.03 of it: the nearest, few_shot (rung 0.1), has 0.9, worse by 0.017 (95 % "
        "interval -0.026 to 0.059, standard error 0.021). few_shot (rung 0.1), worse by 0.017, cannot be "
        "told from the best by 240 rows; about 493 rows would settle it."
    )


def test_who_was_passed_over_for_too_few_rows_is_told_also_of_a_choice_below_the_best(share, contender):
    unlike = contender("zero_shot", 0, right(218, 240, start=22))
    near = contender("few_shot", 0.1, right(218, 240))
    choice = choose(share, [unlike, near, contender("lora", 1.5, right(220, 240))], Rule())
    assert choice.id == "few_shot"
    assert choice.reason.endswith(
        " zero_shot (rung 0), worse by 0.0083, cannot be told from the best by 240 rows; "
        "about 776 rows would settle it."
    )


@pytest.mark.parametrize("rows", [20, 40, 96])
def test_few_rows_show_nothing_so_the_best_is_taken_though_by_one_row(share, contender, rows):
    """One row behind in all, yet three rows apart: 1/n and its error are beyond the margin up to 96 rows."""
    low = contender("zero_shot", 0, [1] + [0] * 2 + [1] * (rows - 3))
    best = contender("lora", 1.5, [0] + [1] * (rows - 1))
    choice = choose(share, [low, best], Rule(margin=0.025))
    assert choice.id == "lora"
    assert f"cannot be told from the best by {rows} rows; about " in choice.reason


def test_who_is_surely_worse_is_not_a_matter_of_rows(share, contender):
    choice = choose(share, [contender("low", 0, right(5, 40)), contender("high", 2, right(38, 40))], Rule())
    assert choice.id == "high"
    assert "settle" not in choice.reason


def test_with_rows_enough_for_the_margin_no_more_are_asked_for(share, contender):
    """Worse by 0.02 with an error of 0.014: open still, on rows that do narrow the interval to the margin."""
    low, best = [1] * 90 + [0] * 110 + [1] * 800, [0] * 90 + [1] * 910
    choice = choose(share, [contender("low", 0, low), contender("high", 2, best)], Rule())
    assert choice.id == "high"
    assert choice.reason.endswith("worse by 0.02 (95 % interval -0.0078 to 0.048, standard error 0.014).")


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_equal_predictions_go_to_the_lowest_rung(share, contender, rows):
    scores = right(rows - 1, rows)
    choice = choose(share, [contender("full", 2, scores, 9), contender("zero_shot", 0, scores)], Rule())
    assert choice.id == "zero_shot"
    assert choice.reason.startswith("zero_shot (rung 0) is the lowest on the ladder, and none is better")


def test_equal_figures_go_to_the_lowest_rung_however_unlike(share, contender):
    low, high = contender("low", 0, right(20, 40, start=20)), contender("high", 1, right(20, 40))
    choice = choose(share, [low, high], Rule(margin=0))
    assert choice.id == "low"
    assert "none is better" in choice.reason


@pytest.mark.parametrize("rows", [20, 50, 100, 400, 1_000])
def test_one_row_behind_is_two_rows_with_its_error(share, contender, rows):
    """A shortfall of 1/n with a standard error of 1/n: in reach of exactly 2/n, and of no less."""
    low, best = contender("low", 0, right(rows - 1, rows)), contender("high", 1, right(rows, rows))
    assert choose(share, [low, best], Rule(margin=2 / rows)).id == "low"
    assert choose(share, [low, best], Rule(margin=1.99 / rows)).id == "high"


def test_the_margin_itself_is_within_the_margin(mean_error, contender):
    """Worse by the same on every row, so without error; 0.93 - 0.90 is more than 0.03 in binary."""
    low, best = contender("low", 0, [0.93] * 40), contender("high", 1, [0.90] * 40)
    assert choose(mean_error, [low, best], Rule(margin=0.03)).id == "low"


def test_a_margin_of_nothing_takes_the_best(share, contender):
    choice = choose(
        share, [contender("low", 0, right(39, 40)), contender("high", 1, [1] * 40)], Rule(margin=0)
    )
    assert choice.id == "high"
    assert "none lower on the ladder is shown to be within 0 of it" in choice.reason


def test_one_row_shows_nothing(mean_error, contender):
    low, best = contender("low", 0, [0.51]), contender("high", 1, [0.5])
    choice = choose(mean_error, [low, best], Rule())
    assert choice.id == "high"
    assert choice.reason.endswith("cannot be told from the best by 1 row; about 100 rows would settle it.")


def test_figures_that_differ_in_the_last_bit_are_equal():
    assert best_of(np.array([0.3, 0.1 + 0.2, 0.2])) == 0


def test_on_one_rung_what_builds_on_others_comes_after_what_does_not(share, contender):
    alone = contender("linear_probe", 1, right(50, 60), parameters=100)
    together = replace(contender("ensemble", 1, right(51, 60), parameters=100), builds_on=2)
    wide = Rule(margin=0.2)
    assert choose(share, [together, alone], wide).id == "linear_probe"
    clearly = replace(together, records=contender("ensemble", 1, right(60, 60)).records)
    assert choose(share, [clearly, alone], Rule()).id == "ensemble"


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


@pytest.mark.parametrize(("gap", "chosen"), [(0.01, "low"), (0.028, "high"), (0.04, "high")])
def test_the_margin_of_perplexity_is_a_share(likelihoods, gap, chosen):
    """Perplexities near 20 are 0.2, 0.57 and 0.8 apart: 1 %, 2.8 % and 4 %, with an error of 0.7 %."""
    random = np.random.default_rng(1)
    nats = 30 * random.normal(3.0, 0.3, size=50)
    noise = random.normal(0, 0.05, size=50)
    low = likelihoods(nats + 30 * (gap + noise - noise.mean()), [30] * 50)
    choice = choose(
        Perplexity(),
        [Contender("low", 0, 0, low), Contender("high", 2, 0, likelihoods(nats, [30] * 50))],
        Rule(),
    )
    assert choice.id == chosen
    assert "within 3 % of" in choice.reason
    assert f"worse by {100 * gap:.2g} %" in choice.reason


def test_a_metric_without_row_scores_is_chosen_by_the_bootstrap(contender):
    rare = [0] * 95 + [1] * 5  # expected is 0 everywhere: predicting 1 adds a label that is never right
    low, best = contender("low", 0, rare), contender("high", 1, [0] * 100)
    choice = choose(MacroF1(), [low, best], Rule())
    assert choice.id == "high"
    same = choose(MacroF1(), [contender("low", 0, rare), contender("high", 1, rare)], Rule())
    assert same.id == "low"
