"""Parts of the test rows, and by which metric each is measured."""

from __future__ import annotations

from stepladder.core.evaluation.slices import metric_of, slices
from stepladder.core.types import Record


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


def test_rows_of_one_expected_answer_are_measured_by_the_first_mean_of_rows(largest, mean_error):
    of_expected, of_team = slices([record(0, 1, team="a"), record(1, 3, team="a")], closed=True)
    assert (of_expected.name, of_team.name) == ("expected=0", "team=a")
    metrics = [largest, mean_error]
    assert (metric_of(of_expected, metrics), metric_of(of_team, metrics)) == (mean_error, largest)
    assert metric_of(of_expected, [largest]) is largest
