"""The digits of scikit-learn as rows: every one of them in one split."""

from pathlib import Path

import pytest
from stepladder.core.errors import DataError
from stepladder.plugins.sources.sklearn import Sklearn


def test_every_fifth_row_is_a_test_row():
    train, test = (list(Sklearn().rows(f"sklearn:digits#{split}")) for split in ("train", "test"))
    assert [row.line for row in test] == list(range(5, 1798, 5))
    assert sorted(row.line for row in train + test) == list(range(1, 1798))
    assert {len(row.fields["vector"]) for row in train} == {64}
    assert {row.fields["label"] for row in test} == set(range(10))


def test_the_split_is_by_default_the_one_that_is_read():
    assert Sklearn.resolve("sklearn:digits", Path(), "test") == "sklearn:digits#test"
    assert Sklearn.resolve("sklearn:digits#train", Path(), "test") == "sklearn:digits#train"


@pytest.mark.parametrize(
    "place, fault",
    [
        ("sklearn:digit", r"no 'digit' \(did you mean 'digits'\?\): expected digits"),
        ("sklearn:digits#tests", r"no 'tests' \(did you mean 'test'\?\): expected train or test"),
        ("sklearn:#test", "expected sklearn:digits, and #train or #test"),
    ],
)
def test_what_is_not_there(place, fault):
    with pytest.raises(DataError, match=fault):
        Sklearn.resolve(place, Path(), "train")
    with pytest.raises(DataError, match="no 'validation'"):
        Sklearn.resolve("sklearn:digits", Path(), "validation")


def test_the_fingerprint_is_of_the_rows():
    one, other = (Sklearn().fingerprint(f"sklearn:digits#{split}") for split in ("train", "test"))
    assert one != other
    assert one == Sklearn().fingerprint("sklearn:digits#train")
