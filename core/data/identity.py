"""What makes two rows the same, and the salted draws that decide where a row goes.

Every decision hangs on the row's own content, never on its place: a row keeps its id and its side
however many rows are added around it. Hashes are BLAKE2b (RFC 7693) with a fixed salt.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import RowFault
from ..types import Example

SALT = b"stepladder rows"
# 64 bits each: among a million rows two different ones share a key with a probability of 3e-8.
KEYS = np.dtype(
    [
        ("input", "<u8"),  # equal for the same input: leaks
        ("side", "<u8"),  # uniform draw: train or validation
        ("order", "<u8"),  # uniform draw: first taken under a limit
        ("row", "<u8"),  # equal for the same input and expected answer: duplicates, ids
        ("answer", "<u8"),  # equal for the same expected answer: strata
    ]
)
Keys = npt.NDArray[np.void]


def keys_of(example: Example) -> bytes:
    """One record of KEYS. Raises RowFault for text that no file can hold.

    The options of a row belong to its input, in whatever order they stand: "Which one is right?" alone
    does not make two rows the same. So does the task of a family that it is of.
    """
    try:
        family = (f"\0{example.task}",) if example.task else ()
        asked = "\0".join((example.input, *sorted(example.options), *family)).encode()
        expected = example.expected.encode()
    except UnicodeEncodeError as error:
        raise RowFault(f"wrong encoding: half a surrogate pair, {error.object[error.start]!r}") from None
    draws = _digest(asked, 24)
    return draws + _digest(draws + expected, 8) + _digest(expected, 8)


def as_keys(records: bytearray) -> Keys:
    """The records of many rows as one array: shape [rows], no copy."""
    return np.frombuffer(records, dtype=KEYS)


def mapped_keys(path: Path) -> Keys:
    """As `as_keys`, of the records in a file, memory-mapped."""
    if path.stat().st_size == 0:  # which nothing can be mapped of
        return np.empty(0, KEYS)
    return np.memmap(path, KEYS, "r")


def occurrences(keys: Keys) -> npt.NDArray[np.int64]:
    """How many equal rows stand before each row: shape [rows]."""
    return ranks_within(keys["row"], np.arange(len(keys)))


def row_ids(keys: Keys, earlier: npt.NDArray[np.int64]) -> list[str]:
    """The id of each row: its hash, and from its second occurrence on the number of the occurrence."""
    return [
        f"{key:016x}-{before + 1}" if before else f"{key:016x}"
        for key, before in zip(keys["row"].tolist(), earlier.tolist(), strict=True)
    ]


def ranks_within(groups: npt.NDArray[np.uint64], order: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """The place of each row (from 0, by `order`) among the rows of its group. Shapes [rows]."""
    sorting = np.lexsort((order, groups))
    in_order = groups[sorting]
    begins = np.append(True, in_order[1:] != in_order[:-1])[: len(groups)]
    places = np.arange(len(groups))
    ranks = np.empty(len(groups), np.int64)
    ranks[sorting] = places - np.maximum.accumulate(np.where(begins, places, 0))
    return ranks


def _digest(value: bytes, size: int) -> bytes:
    return blake2b(value, digest_size=size, salt=SALT).digest()
