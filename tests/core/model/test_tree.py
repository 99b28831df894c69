"""Packed trees: literal integers, then the property that every token sees exactly its own sequence so far."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stepladder.core.model.tree import build_tree, common_length, group_into_trees

HIDDEN = torch.finfo(torch.float64).min
# Every order of arrival: [1, 2, 3], its extension, its sibling, one apart, and the first again.
SEQUENCES = [[1, 2, 3], [7], [1, 2, 3, 4, 5], [1, 2, 9], [1, 2, 3]]

sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8)


def seen(tree, window: int | None = None, root: int = 0) -> list[list[int]]:
    """1 where the token of the row sees that of the column; every value is 0 or the least one."""
    mask = tree.mask(torch.float64, torch.device("cpu"), window, root)
    assert mask.shape == (1, 1, len(tree), root + len(tree))
    assert set(mask.unique().tolist()) <= {0.0, HIDDEN}
    return (mask[0, 0] == 0).int().tolist()


def test_tree_of_five_sequences():
    tree = build_tree(SEQUENCES)
    #                             0  1  2  3  4  5  6
    assert tree.tokens.tolist() == [1, 2, 3, 4, 5, 9, 7]
    assert tree.positions.tolist() == [0, 1, 2, 3, 4, 2, 0]
    assert tree.last.tolist() == [5, 5, 4, 4, 4, 5, 6]
    assert tree.paths == ([0, 1, 2], [6], [0, 1, 2, 3, 4], [0, 1, 5], [0, 1, 2])
    assert len(tree) == 7


def test_mask_of_five_sequences():
    assert seen(build_tree(SEQUENCES)) == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]


def test_mask_with_a_window_of_two_counts_positions_not_places():
    assert seen(build_tree(SEQUENCES), window=2) == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 0],
        [0, 1, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]


def test_keys_before_the_tree_are_seen_by_all_of_it():
    assert seen(build_tree([[1, 2], [1, 3]]), root=2) == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 0, 1],
    ]


@pytest.mark.parametrize(
    "left, right, length",
    [([], [1], 0), ([1], [2], 0), ([1, 2], [1, 2], 2), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 5, 3], 1)],
)
def test_common_length(left: list[int], right: list[int], length: int):
    assert common_length(left, right) == common_length(right, left) == length


@pytest.mark.parametrize(
    "cap, groups",
    [
        (7, [[0, 4, 2, 3, 1]]),
        (6, [[0, 4, 2, 3], [1]]),
        (5, [[0, 4, 2], [3, 1]]),
        (4, [[0, 4], [2], [3, 1]]),
        (1, [[0], [4], [2], [3], [1]]),  # longer than the cap: alone
    ],
)
def test_groups_under_the_cap(cap: int, groups: list[list[int]]):
    found = group_into_trees(SEQUENCES, cap)
    sizes = [len(build_tree([SEQUENCES[index] for index in group])) for group in found]
    longest = [max(len(SEQUENCES[index]) for index in group) for group in found]
    assert found == groups
    assert all(size <= max(cap, alone) for size, alone in zip(sizes, longest, strict=True))


@given(sequences)
def test_every_path_reads_its_sequence(sequences: list[list[int]]):
    tree = build_tree(sequences)
    prefixes = {tuple(sequence[: end + 1]) for sequence in sequences for end in range(len(sequence))}
    assert len(tree) == len(prefixes), "each distinct beginning is computed once"
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.tokens[path].tolist() == sequence
        assert tree.positions[path].tolist() == list(range(len(sequence)))


@given(sequences, st.none() | st.integers(1, 4))
def test_every_token_sees_its_own_sequence_so_far_and_nothing_else(
    sequences: list[list[int]], window: int | None
):
    tree = build_tree(sequences)
    mask = torch.tensor(seen(tree, window))
    for path in tree.paths:
        for position, node in enumerate(path):
            start = 0 if window is None else max(0, position + 1 - window)
            assert mask[node].nonzero()[:, 0].tolist() == path[start : position + 1]


@given(sequences, st.integers(1, 12))
def test_groups_hold_every_sequence_once_and_keep_the_cap(sequences: list[list[int]], cap: int):
    groups = group_into_trees(sequences, cap)
    assert sorted(index for group in groups for index in group) == list(range(len(sequences)))
    for group in groups:
        members = [sequences[index] for index in group]
        assert len(build_tree(members)) <= max(cap, max(map(len, members)))
