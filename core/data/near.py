"""Test rows that a train row nearly repeats: told, never removed.

Two inputs are compared by the Jaccard index of their pieces of five bytes, case and punctuation aside. Pairs
that may be near are found by MinHash (Broder 1997) and its index by bands, both of the library datasketch;
each such pair is then compared exactly, so that every pair told is near; few that are near are missed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .store import DATA_FILE, record_batches

if TYPE_CHECKING:
    from datasketch import MinHash

NEAR_FILE = "near_duplicates.jsonl"
PIECE = 5
PERMUTATIONS = 128
# The index is to miss few; what it finds in vain is seen when pairs are compared.
MARGIN, MISSED, FOUND_IN_VAIN = 0.9, 0.9, 0.1
SHOWN_CHARACTERS = 500
WORDS = re.compile(r"\w+")
COLUMNS = ["id", "line", "input"]
Pieces = npt.NDArray[np.uint64]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """How many test rows have a near train row, and how many pairs there are, at which similarity."""

    similarity: float
    test_rows: int
    pairs: int

    def __str__(self) -> str:
        rows = "1 test row has" if self.test_rows == 1 else f"{self.test_rows:,} test rows have"
        return f"{rows} a near-duplicate in train (similarity of at least {self.similarity:g})"


def report_near_duplicates(folder: Path, similarity: float) -> NearDuplicates:
    """Compare the rows in `folder`/train and `folder`/test and write the pairs into `folder`."""
    index = Index(folder / "test", similarity)
    test_rows: set[str] = set()
    pairs = 0
    with (folder / NEAR_FILE).open("w", encoding="utf-8", errors="backslashreplace") as file:
        for train in _rows(folder / "train"):
            for test, value in index.near(train["input"]):
                pair = {"similarity": round(value, 3), "train": _shown(train), "test": _shown(test)}
                file.write(json.dumps(pair, ensure_ascii=False) + "\n")
                test_rows.add(test["id"])
                pairs += 1
    return NearDuplicates(similarity, len(test_rows), pairs)


class Index:
    """The rows of a split, to be found by inputs that are near theirs. Only their hashes are in memory."""

    def __init__(self, folder: Path, similarity: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self.similarity = similarity
        self._empty = MinHash(PERMUTATIONS, hashfunc=int, scheme="affine64")
        self._bands = MinHashLSH(MARGIN * similarity, PERMUTATIONS, weights=(FOUND_IN_VAIN, MISSED))
        with pa.memory_map(str(folder / DATA_FILE)) as file:
            self._table = pa.ipc.open_stream(file).read_all().select(COLUMNS)
        for place, row in enumerate(_rows(folder)):
            self._bands.insert(place, self._hashed(pieces_of(row["input"])))

    def near(self, text: str) -> Iterator[tuple[Row, float]]:
        """The rows whose input is near the text, each with how near."""
        pieces = pieces_of(text)
        for place in sorted(self._bands.query(self._hashed(pieces))):
            [row] = self._table.slice(place, 1).to_pylist()
            value = jaccard(pieces, pieces_of(row["input"]))
            if value >= self.similarity:
                yield row, value

    def _hashed(self, pieces: Pieces) -> MinHash:
        hashed = self._empty.copy()
        hashed.update_batch(pieces.tolist())
        return hashed


def pieces_of(text: str) -> Pieces:
    """The pieces of a text as numbers, each once, in order; a text of fewer than five bytes is one piece."""
    content = " ".join(WORDS.findall(text.casefold())).encode().ljust(PIECE)
    codes = np.frombuffer(content, np.uint8).astype(np.uint64)
    pieces = np.zeros(len(codes) - PIECE + 1, np.uint64)
    for place in range(PIECE):
        pieces |= codes[place : place + len(pieces)] << np.uint64(8 * place)
    return np.unique(pieces)


def jaccard(one: Pieces, other: Pieces) -> float:
    """The share of pieces of either that are pieces of both."""
    common = np.intersect1d(one, other, assume_unique=True).size
    return common / (one.size + other.size - common)


def _rows(folder: Path) -> Iterator[Row]:
    for batch in record_batches(folder):
        yield from batch.select(COLUMNS).to_pylist()


def _shown(row: Row) -> Row:
    return {**row, "input": row["input"][:SHOWN_CHARACTERS]}
