"""A search: what is tried first, what is given up, and that a seed decides all of it."""

from __future__ import annotations

import math

import pytest
from optuna.trial import TrialState
from stepladder.core.errors import StepError
from stepladder.core.evaluation.search import Search
from stepladder.core.method import Between, OneOf
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.metrics.mean_absolute_error import MeanAbsoluteError

SPACE = {"x": Between(0.001, 10, log=True), "colour": OneOf(("red", "blue", ("green", "grey")))}


def run(objective, space=SPACE, trials=12, seed=0, metric=None, first=()):
    search = Search(space, trials, metric or Accuracy(), seed, first)
    return search, search.run(objective)


def test_a_seed_decides_what_is_tried():
    def tried(seed):
        return [outcome.values for outcome in run(lambda trial: trial.values["x"], seed=seed)[1]]

    assert tried(1) == tried(1) != tried(2)
    assert len(tried(1)) == 12
    assert all(0.001 <= values["x"] <= 10 for values in tried(1))
    assert {values["colour"] for values in tried(1)} == {"red", "blue", ("green", "grey")}


def test_the_best_is_what_the_metric_calls_better_and_the_earliest_of_equals():
    def distance(trial):
        return round(abs(math.log10(trial.values["x"])), 0)

    for metric, best in ((Accuracy(), max), (MeanAbsoluteError(), min)):
        search, outcomes = run(distance, metric=metric)
        value = best(outcome.value for outcome in outcomes)
        assert search.best(outcomes) == next(each for each in outcomes if each.value == value)


def test_given_values_are_tried_first_and_those_outside_the_space_never():
    first = [{"x": 50.0, "colour": "red"}, {"x": 2.0, "colour": "blue"}, {"x": 2.0, "colour": "pink"}]
    _, outcomes = run(lambda trial: 1.0, first=first)
    assert outcomes[0].values == first[1]
    assert first[0] not in [outcome.values for outcome in outcomes]


def test_what_was_tried_is_not_tried_again_and_a_small_space_ends_the_search():
    asked = []
    space = {"a": OneOf((1, 2)), "b": OneOf(("x", "y"))}
    _, outcomes = run(lambda trial: asked.append(trial.values) or 0.5, space=space, trials=10)
    assert len(asked) == len(outcomes) == 4


@pytest.mark.parametrize("metric, sign", [(Accuracy(), 1.0), (MeanAbsoluteError(), -1.0)])
def test_a_trial_that_is_worse_than_the_median_on_the_way_is_given_up(metric, sign):
    ends = []

    def objective(trial):
        good = sign * {0: 0.5, 1: 0.7, 2: 0.2, 3: 0.9}[trial.number]
        trial.tell(good, step=16)
        ends.append(trial.number)
        return good

    search, outcomes = run(objective, trials=4, metric=metric)
    assert ends == [0, 1, 3]
    report = search.report(outcomes, "train", 64, 2.5)
    assert (report.trials, report.pruned, report.failed) == (4, 1, 0)
    assert (report.value, report.rows, report.split) == (sign * 0.9, 64, "train")
    assert report.best == outcomes[3].values
    assert report.space == {
        "x": {"low": 0.001, "high": 10, "log": True},
        "colour": ["red", "blue", ("green", "grey")],
    }


def test_a_trial_that_fails_is_counted_and_ends_nothing():
    def objective(trial):
        if trial.number == 1:
            raise StepError("the loss is nan")
        return math.nan if trial.number == 2 else 0.5

    search, outcomes = run(objective, trials=4)
    states = [outcome.state for outcome in outcomes]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert outcomes[1].fault == "the loss is nan"
    assert search.report(outcomes, "validation", 9, 1.0).failed == 2


def test_a_search_of_failures_alone_says_why_the_first_failed():
    def objective(trial):
        raise StepError(f"no room for {trial.number}")

    with pytest.raises(StepError, match="none of 3 trials could be finished; the first: no room for 0"):
        run(objective, trials=3)


def test_a_bug_is_no_failed_trial():
    with pytest.raises(ZeroDivisionError):
        run(lambda trial: 1 / 0)
