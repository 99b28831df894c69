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
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .parallel import in_order, processes_for
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
Pair = dict[str, Any]


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
        for pair in chain.from_iterable(_pairs(index, folder / "train")):
            file.write(json.dumps(pair, ensure_ascii=False) + "\n")
            test_rows.add(pair["test"]["id"])
            pairs += 1
    return NearDuplicates(similarity, len(test_rows), pairs)


class Index:
    """The test rows, to be found by train rows whose inputs are near. Only their hashes are in memory."""

    def __init__(self, folder: Path, similarity: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self.similarity = similarity
        self._empty = MinHash(PERMUTATIONS, hashfunc=int, scheme="affine64")
        self._bands = MinHashLSH(MARGIN * similarity, PERMUTATIONS, weights=(FOUND_IN_VAIN, MISSED))
        with pa.memory_map(str(folder / DATA_FILE)) as file:
            self._table = pa.ipc.open_stream(file).read_all().select(COLUMNS)
        for place, text in enumerate(self._table["input"]):
            self._bands.insert(place, self._hashed(pieces_of(text.as_py())))

    def pairs(self, batch: pa.RecordBatch) -> list[Pair]:
        """The batch's train rows with each test row that is near; it may be called in another process."""
        return [pair for row in batch.to_pylist() for pair in self._near(row)]

    def _near(self, train: Row) -> Iterator[Pair]:
        pieces = pieces_of(train["input"])
        for place in sorted(self._bands.query(self._hashed(pieces))):
            [test] = self._table.slice(place, 1).to_pylist()
            similarity = jaccard(pieces, pieces_of(test["input"]))
            if similarity >= self.similarity:
                yield {"similarity": round(similarity, 3), "train": _shown(train), "test": _shown(test)}

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


def _pairs(index: Index, folder: Path) -> Iterator[list[Pair]]:
    rows = sum(batch.num_rows for batch in record_batches(folder))
    batches = (batch.select(COLUMNS) for batch in record_batches(folder))
    return in_order(index.pairs, batches, processes_for(rows))


def _shown(row: Row) -> Row:
    return {**row, "input": row["input"][:SHOWN_CHARACTERS]}
