"""Parts of the test rows and their figures, worked out by hand."""

from __future__ import annotations

import pytest
from stepladder.core.evaluation.slices import measure_slices, slices
from stepladder.core.types import Interval, Record


def record(place, said, **slices):
    return Record(f"row-{place}", "", "0", str(said), slices=slices)


def test_every_value_of_every_column_is_a_slice():
    rows = [
        record(0, 1, team="b", channel="web"),
        record(1, 0, team="a", channel="web"),
        record(2, 1, team="b", channel=""),
    ]
    parts = [(part.name, [each.id for each in part.records]) for part in slices(rows, closed=False)]
    assert parts == [
        ("channel=", ["row-2"]),
        ("channel=web", ["row-0", "row-1"]),
        ("team=a", ["row-1"]),
        ("team=b", ["row-0", "row-2"]),
    ]


def test_a_closed_set_is_parted_by_the_expected_answer_too():
    rows = [Record("row-0", "", "yes", "no"), Record("row-1", "", "no", "no")]
    assert slices(rows, closed=False) == []
    assert [part.name for part in slices(rows, closed=True)] == ["expected=no", "expected=yes"]


def test_each_slice_has_its_figure_with_interval_and_rows(share, mean_error):
    rows = [record(0, 1, team="a"), record(1, 0, team="a"), record(2, 1, team="b")]
    of_a, of_b = measure_slices(rows, [share, mean_error], closed=False)
    assert (of_a.column, of_a.value, of_a.rows, of_a.metric) == ("team", "a", 2, "share")
    # Wilson's intervals of 1 in 2 and of 1 in 1.
    assert of_a.figure == Interval(0.5, pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4))
    assert of_b.figure == Interval(1.0, pytest.approx(0.2065, abs=1e-4), pytest.approx(1.0))


def test_rows_of_one_expected_answer_are_measured_by_the_first_mean_of_rows(largest, mean_error):
    rows = [record(0, 1, team="a"), record(1, 3, team="a")]
    of_expected, of_team = measure_slices(rows, [largest, mean_error], closed=True)
    assert (of_expected.metric, of_expected.figure.value) == ("mean_error", 2.0)
    assert (of_team.metric, of_team.figure.value) == ("largest", 3.0)
