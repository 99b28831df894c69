"""Data sets of the Hugging Face hub, by its own `datasets` loader, as a stream.

They are named hub:owner/name[:config][#split]. hub:./folder is a folder in the layout of the hub, read by the
same loader without a network. Code that comes with a data set is never run: the loader refuses it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ...core.data.tables import ROWS_AT_ONCE, coded_columns, table_rows, tell_names
from ...core.errors import DataError, did_you_mean
from ...core.hookspecs import hookimpl
from ...core.model.locate import file_sha256
from ...core.source import Source, SourceRow

if TYPE_CHECKING:
    from datasets import IterableDataset

    from ...core.types import SplitName

FORM = re.compile(r"hub:(?P<name>[^:#]+)(:(?P<config>[^:#]+))?(#(?P<split>[^:#]+))?")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
EXPECTED = (
    "expected hub:owner/name, hub:owner/name:config, or hub:./folder, and #split behind it where wanted"
)
ANSWER_SECONDS = 10


@hookimpl
def stepladder_sources() -> Sequence[type[Source]]:
    return [Hub]


class Hub(Source):
    """One split of a data set."""

    name = "hub"
    suffixes = ()
    scheme = "hub"

    @classmethod
    def resolve(cls, place: str, folder: Path, split: SplitName) -> str:
        """With the split named, which is by default the one that it is read for, and the folder absolute."""
        named = Named.of(place)
        name = named.name
        if name.startswith((".", "/", "~")):
            path = (folder / Path(name).expanduser()).resolve()
            if not path.is_dir():
                raise DataError(f"{place}: no such folder: {path}{_nearest(path)}")
            name = str(path)
        elif not HUB_ID.fullmatch(name):
            raise DataError(f"{place}: {EXPECTED}")
        return str(Named(name, named.config, named.split or split))

    def fingerprint(self, place: str) -> str:
        """By the revision on the hub, or the contents of the folder."""
        named = Named.of(place)
        state = _contents(Path(named.name)) if named.is_folder else _revision(named)
        return hashlib.sha256(f"{state}:{named.config}#{named.split}".encode()).hexdigest()

    def guess(self, place: str) -> str | None:
        return tell_names(coded_columns(_load(Named.of(place)).features))

    def rows(self, place: str) -> Iterator[SourceRow]:
        """Every row, by its number. Raises DataError where the hub, or the loader, gives none."""
        named = Named.of(place)
        return _rows(named, _load(named))


@dataclass(frozen=True, slots=True)
class Named:
    """A split of a data set: hub id or folder, config and split; those not named are None."""

    name: str
    config: str | None
    split: str | None

    @classmethod
    def of(cls, place: str) -> Self:
        """Raises DataError for what names none."""
        found = FORM.fullmatch(place)
        if found is None:
            raise DataError(f"{place}: {EXPECTED}")
        return cls(found["name"], found["config"], found["split"])

    @property
    def is_folder(self) -> bool:
        return self.name.startswith("/")

    def __str__(self) -> str:
        config = f":{self.config}" if self.config else ""
        return f"hub:{self.name}{config}" + (f"#{self.split}" if self.split else "")


def _load(named: Named) -> IterableDataset:
    """Raises DataError with what there is instead, where there is no such configuration or split."""
    from datasets import load_dataset

    revision = None if named.is_folder else _revision(named)
    try:
        splits = load_dataset(named.name, named.config, revision=revision, streaming=True)
    except Exception as error:  # of many kinds: the loader's own, and those of what it reads with
        raise DataError(f"{named}: {_configs(named, revision) or _said(error)}") from error
    if named.split not in splits:
        known = sorted(splits)
        near = did_you_mean(str(named.split), known)
        raise DataError(
            f"{named}: no split {named.split!r}{near}; expected one of {', '.join(known)}, "
            f"such as {Named(named.name, named.config, known[0])}"
        )
    return splits[named.split]


def _configs(named: Named, revision: str | None) -> str | None:
    """What is wrong with the configuration that is named, or not named; None where nothing is."""
    from datasets import get_dataset_config_names

    try:
        known = get_dataset_config_names(named.name, revision=revision)
    except Exception:  # then it is not the name of the configuration that was wrong
        return None
    if named.config in known or (named.config is None and len(known) == 1):
        return None
    expected = f"expected one of {', '.join(known)}, such as {Named(named.name, known[0], named.split)}"
    if named.config is None:
        return f"it has several configurations: {expected}"
    return f"no configuration {named.config!r}{did_you_mean(named.config, known)}; {expected}"


def _rows(named: Named, split: IterableDataset) -> Iterator[SourceRow]:
    number = 0
    try:
        tables = split.with_format("arrow").iter(ROWS_AT_ONCE)
        for row in table_rows(tables, coded_columns(split.features)):
            number = row.line
            yield row
    except DataError:
        raise
    except Exception as error:  # as above
        raise DataError(
            f"{named}: nothing can be read behind row {number}: {_said(error)}. Expected rows whose columns "
            "have one type each; a file of rows that have not is read by its own name, such as rows.jsonl"
        ) from error


def _revision(named: Named) -> str:
    """The commit at which the data set stands. Asked first, since the loader would ask in vain for long."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        revision: str = HfApi().dataset_info(named.name, timeout=ANSWER_SECONDS).sha
    except GatedRepoError:
        raise DataError(
            f"{named}: {named.name} is given to those who asked for it: ask on its page of the hub, "
            "and set HF_TOKEN in the environment"
        ) from None
    except RepositoryNotFoundError:
        raise DataError(
            f"{named}: the hub has no data set {named.name}, or it is private: "
            "check the name, or set HF_TOKEN in the environment"
        ) from None
    except Exception as error:  # of the network, in all its kinds
        raise DataError(
            f"{named}: the hub does not answer for {named.name} ({_said(error)}). Without a network name a "
            f"copy on this machine: `hf download {named.name} --repo-type dataset --local-dir FOLDER` where "
            "there is one, then hub:FOLDER here"
        ) from error
    return revision


def _contents(folder: Path) -> str:
    """sha256 of all files with their names, but for hidden ones, where tools keep what is theirs."""
    inside = [(path, path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    lines = [
        f"{name.as_posix()}:{file_sha256(path)}"
        for path, name in inside
        if not any(part.startswith(".") for part in name.parts)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return did_you_mean(path.name, [each.name for each in path.parent.iterdir() if each.is_dir()])


def _said(error: Exception) -> str:
    """An error and what it was caused by, on one bounded line."""
    cause = error.__cause__ or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
