"""Which rows are kept, decided on keys that are written by hand."""

import numpy as np
import pytest
from stepladder.core.data.identity import KEYS, as_keys, keys_of, occurrences, ranks_within, row_ids
from stepladder.core.data.splitting import Limits, split_other, split_train, within_limit
from stepladder.core.errors import RowFault
from stepladder.core.types import Example

HALF = 2**63


def keys(*rows):
    """Rows of (input, side, order, row, answer)."""
    return np.array(list(rows), KEYS)


def test_train_rows_go_one_way_each_in_this_order():
    train = keys(
        (1, HALF, 0, 1, 0),  # kept
        (1, HALF, 0, 1, 0),  # repeated
        (1, HALF, 0, 2, 0),  # another answer: kept
        (2, 0, 0, 3, 0),  # leaked, though its side is validation
        (2, 0, 0, 3, 0),  # repeated, though it leaks
        (3, HALF - 1, 0, 4, 0),  # held out
        (4, HALF, 9, 5, 0),  # over the limit: drawn last
    )
    kept, held_out = split_train(train, [keys((2, 0, 0, 9, 9))], 0.5, Limits(train=2), stratified=True)
    assert kept.kept.tolist() == [True, False, True, False, False, False, False]
    account = kept.account
    assert (account.read, account.kept, account.duplicates, account.leaked) == (7, 2, 2, 1)
    assert (account.held_out, account.over_limit, account.quarantined) == (1, 1, 0)
    assert held_out.kept.tolist() == [False, False, False, False, False, True, False]
    assert (held_out.account.read, held_out.account.kept) == (1, 1)


def test_other_splits_keep_repeats():
    rows = keys((1, 0, 0, 1, 0), (1, 0, 0, 1, 0), (2, 0, 0, 2, 0))
    side = split_other(rows, [keys((2, 0, 0, 5, 0))], None, stratified=False)
    assert side.kept.tolist() == [True, True, False]
    assert (side.account.read, side.account.kept, side.account.duplicates, side.account.leaked) == (
        3,
        2,
        1,
        1,
    )


def test_a_limit_takes_each_answer_in_turn_and_then_its_share():
    # Answer 0 has four rows, answer 1 two, answer 2 one; `order` is the draw.
    rows = keys(*((n, 0, n, n, 0) for n in (3, 1, 2, 0)), (4, 0, 5, 4, 1), (5, 0, 4, 5, 1), (6, 0, 6, 6, 2))
    everything = np.ones(7, np.bool_)

    def taken(limit, stratified=True):
        return rows["input"][within_limit(rows, everything, limit, stratified)].tolist()

    assert taken(3) == [0, 5, 6]
    assert taken(4) == [1, 0, 5, 6]
    assert taken(6) == [1, 2, 0, 4, 5, 6]
    assert taken(3, stratified=False) == [1, 2, 0]
    assert taken(None) == taken(7) == [3, 1, 2, 0, 4, 5, 6]


@pytest.mark.parametrize(
    ("limits", "share", "expected"),
    [
        (Limits(train=600), 0.2, 150),
        (Limits(train=1), 0.1, 1),
        (Limits(train=600, validation=40), 0.2, 40),
        (Limits(validation=40), 0.2, 40),
        (Limits(), 0.2, None),
    ],
)
def test_held_out_rows_are_limited_in_proportion(limits, share, expected):
    assert limits.held_out(share) == expected


def test_ranks_count_from_zero_in_each_group():
    groups = np.array([7, 5, 7, 5, 7], np.uint64)
    assert ranks_within(groups, np.array([30, 1, 10, 2, 20])).tolist() == [2, 0, 0, 1, 1]
    assert ranks_within(groups[:0], groups[:0]).tolist() == []


def test_ids_hold_for_good():
    """A changed id breaks the splits of every run before it."""
    rows = [
        Example("", "message 0", "a"),
        Example("", "Which?", "b", options=("b", "a")),
        Example("", "Which?", "b", options=("a", "b")),
        Example("", "message 0", "b"),
    ]
    found = as_keys(bytearray(b"".join(keys_of(row) for row in rows)))
    assert row_ids(found, occurrences(found)) == [
        "d56e33e51a4b6893",
        "ad5a67966159b085",
        "ad5a67966159b085-2",
        "6066e02412f9f9d4",
    ]
    assert found["input"][0] == found["input"][3] != found["input"][1]
    assert found["side"][0] == found["side"][3]


def test_the_same_words_asked_in_another_task_are_another_input():
    rows = [Example("", "is it due?", "yes", task=task) for task in ("", "bills", "books", "bills")]
    inputs = as_keys(bytearray(b"".join(keys_of(row) for row in rows)))["input"].tolist()
    assert inputs[1] == inputs[3]
    assert len(set(inputs)) == 3


def test_half_a_surrogate_pair_is_a_fault():
    with pytest.raises(RowFault, match="half a surrogate pair"):
        keys_of(Example("", "x", "\udc00"))
