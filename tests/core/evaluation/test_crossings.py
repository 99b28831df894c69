"""Where the best changes, by hand, and whether few rows may say so."""

from __future__ import annotations

import math

import pytest
from stepladder.core.evaluation.crossings import Point, best_at, crossings, meeting
from stepladder.core.report.curve import in_words


@pytest.mark.parametrize(
    ("low", "high", "before", "after", "at"),
    [
        (0, 99, 0.1, 0.1, 9),  # log10 of 1, 10 and 100
        (9, 999, 0.3, 0.1, 10**2.5 - 1),
        (9, 99, 0.0, 0.2, 9),
        (9, 99, 0.2, 0.0, 99),
        (9, 99, 0.0, 0.0, 9),
    ],
)
def test_lines_meet_on_the_logarithm_of_one_more_than_the_rows(low, high, before, after, at):
    assert meeting(low, high, before, after) == pytest.approx(at)


def test_the_best_of_equals_is_the_lower_rung(share, mean_error, said):
    point = Point(5, {"low": said([1, 0, 1]), "high": said([0, 1, 1])})
    assert best_at(share, point) == "low"
    assert best_at(mean_error, Point(5, {"low": said([0.2]), "high": said([0.1])})) == "high"
    assert best_at(share, Point(5, {})) is None


def test_a_clear_change_is_told_with_both_leads(share, said):
    ahead, behind = said([1] * 30 + [0] * 10), said([0] * 30 + [1] * 10)
    points = [Point(9, {"prompt": ahead, "probe": behind}), Point(99, {"prompt": behind, "probe": ahead})]
    (found,) = crossings(share, points)
    assert (found.below, found.above, found.low_rows, found.high_rows) == ("prompt", "probe", 9, 99)
    assert found.at == pytest.approx(math.sqrt(1000) - 1)
    assert found.before.value == found.after.value == 0.5
    assert found.settled
    text = in_words(found, share)
    assert text.startswith(
        "Below about 31 rows prompt, above it probe: at 9 rows prompt is ahead by 0.5 (95 %"
    )
    assert "undecided" not in text


def test_a_change_within_the_noise_is_undecided(share, said):
    ahead, behind = said([1, 1, 1, 0, 0, 0]), said([1, 1, 0, 0, 0, 0])
    points = [Point(9, {"prompt": ahead, "probe": behind}), Point(99, {"prompt": behind, "probe": ahead})]
    (found,) = crossings(share, points)
    assert not found.settled
    assert "but that is undecided, within the noise of the validation rows" in in_words(found, share)


def test_one_that_could_not_run_below_is_told_from_where_it_could(share, said):
    low, high = said([0] * 20), said([1] * 20)
    points = [Point(0, {"prompt": low}), Point(10, {"prompt": low, "probe": high}), Point(20, {})]
    (found,) = crossings(share, points)
    assert found.at is None and found.before is None and found.settled
    assert in_words(found, share).startswith(
        "At 0 rows prompt, at 10 rows probe, and one of them lacks a figure at the other point: "
        "at 10 rows probe is ahead by 1 "
    )
    alone = [Point(0, {"prompt": low}), Point(10, {"probe": high})]
    assert in_words(crossings(share, alone)[0], share).endswith("lacks a figure at the other point.")


def test_points_at_which_nobody_finished_are_passed_over(share, said):
    one, other = {"a": said([1, 1]), "b": said([0, 0])}, {"a": said([0, 0]), "b": said([1, 1])}
    found = crossings(share, [Point(1, one), Point(2, {}), Point(4, other)])
    assert [(each.low_rows, each.high_rows) for each in found] == [(1, 4)]
    assert crossings(share, [Point(1, one), Point(2, one)]) == []
