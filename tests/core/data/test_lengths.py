"""Tokens and mask are cut together, and never to a row that trains nothing."""

import json

import pytest
from stepladder.core.data.lengths import LengthPolicy, context_length, length_policy
from stepladder.core.errors import RowFault
from stepladder.core.types import Encoded

ROW = Encoded([1, 2, 3, 4, 5], [False, False, True, True, True])


def test_a_row_of_the_limit_stays_as_it_is():
    assert LengthPolicy(5, truncate=False).fit(ROW) is ROW
    assert LengthPolicy(5, truncate=True).fit(ROW) is ROW


def test_a_longer_row_is_left_out():
    with pytest.raises(RowFault, match=r"^5 tokens, over the limit of 4$"):
        LengthPolicy(4, truncate=False).fit(ROW)


def test_or_it_is_cut_at_the_end():
    assert LengthPolicy(4, truncate=True).fit(ROW) == Encoded([1, 2, 3, 4], [False, False, True, True])
    assert LengthPolicy(3, truncate=True).fit(ROW) == Encoded([1, 2, 3], [False, False, True])
    with pytest.raises(RowFault, match=r"^5 tokens, of which the first 2 hold nothing to train$"):
        LengthPolicy(2, truncate=True).fit(ROW)


def test_a_fault_stays_a_fault():
    with pytest.raises(RowFault, match=r"^forged$"):
        LengthPolicy(4, truncate=True).fit(RowFault("forged"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 131072}}, 131072),
        ({"max_position_embeddings": None}, 2048),
        ({}, 2048),
    ],
)
def test_without_a_limit_it_is_what_the_base_reads(tmp_path, config, expected):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert context_length(tmp_path) == expected
    assert length_policy({"max_length": None, "too_long": "quarantine"}, tmp_path) == LengthPolicy(
        expected, False
    )
    assert length_policy({"max_length": 64, "too_long": "truncate"}, tmp_path) == LengthPolicy(64, True)
