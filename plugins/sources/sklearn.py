"""Data that comes with scikit-learn: sklearn:digits, 1,797 handwritten digits of 8 x 8 grey pixels.

They are the test rows of Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (UCI), CC BY
4.0. Every fifth one is a test row, the others are train rows: sklearn:digits#train, sklearn:digits#test.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import DataError, did_you_mean
from ...core.hookspecs import hookimpl
from ...core.source import Source, SourceRow

if TYPE_CHECKING:
    from ...core.types import SplitName

FORM = re.compile(r"sklearn:(?P<name>[^#]+)(#(?P<split>.+))?")
NAMES, SPLITS = ("digits",), ("train", "test")
TEST_EVERY = 5


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [Sklearn]


class Sklearn(Source):
    """Rows of `vector`, a list of numbers, and `label`."""

    name = "sklearn"
    suffixes = ()
    scheme = "sklearn"

    @classmethod
    def resolve(cls, place: str, folder: Path, split: SplitName) -> str:
        """With the split named, which is by default the one that it is read for."""
        name, named = _parts(place)
        return f"sklearn:{name}#{_known(place, named or split, SPLITS)}"

    def rows(self, place: str) -> Iterator[SourceRow]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        tests = _parts(place)[1] == "test"
        pairs = zip(digits.data.tolist(), digits.target.tolist(), strict=True)
        for number, (vector, label) in enumerate(pairs, start=1):
            if (number % TEST_EVERY == 0) == tests:
                yield SourceRow(number, {"vector": vector, "label": label})

    def fingerprint(self, place: str) -> str:
        """By the content: sha256 of all rows."""
        digest = hashlib.sha256()
        for row in self.rows(place):
            digest.update(repr(sorted(row.fields.items())).encode())
        return digest.hexdigest()


def _parts(place: str) -> tuple[str, str | None]:
    """Name and split, None where that is not named. Raises DataError."""
    found = FORM.fullmatch(place)
    if found is None:
        raise DataError(f"{place}: expected sklearn:digits, and #train or #test behind it where wanted")
    return _known(place, found["name"], NAMES), found["split"]


def _known(place: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise DataError(f"{place}: no {name!r}{did_you_mean(name, known)}: expected {' or '.join(known)}")
    return name
