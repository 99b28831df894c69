"""The contract of sources: how rows come out of a file or another place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .types import SplitName


class Source(ABC):
    """Reads rows from the files of some suffixes, or from places that begin with a scheme of its own.

    `folders` are names of files: a folder in which one of them lies is read as a whole. `scheme` is "hub" for
    places such as hub:owner/name, which are no files.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    folders: ClassVar[tuple[str, ...]] = ()
    scheme: ClassVar[str] = ""

    @abstractmethod
    def rows(self, place: str) -> Iterator[SourceRow]:
        """Every row in order, faulty ones included; never raises for one bad row.

        `place` is a path, or what `resolve` made of a place with the source's scheme. Raises DataError where
        the place as a whole cannot be read.
        """

    def guess(self, place: str) -> str | None:
        """How the place is read where that is a guess, in words for the user."""
        return None

    @classmethod
    def resolve(cls, place: str, folder: Path, split: SplitName) -> str:
        """A place with the source's scheme, with nothing left open; its paths are relative to `folder`.

        Raises InputError where there can be no such place.
        """
        return place

    def fingerprint(self, place: str) -> str:
        """Of a place with the source's scheme: another one where the rows are others. Raises InputError."""
        raise NotImplementedError(f"source {self.name!r} has a scheme and must give `fingerprint`")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row as it was read. `fault` says why it is unusable; then `fields` is empty.

    `line` is where it begins in a file of text, and the number of the row elsewhere, from 1. `raw` is the row
    as it stands in its file, as far as the quarantine shows it; empty where it is no text.
    """

    line: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None
    raw: str = ""
