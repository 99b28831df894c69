"""What a config names outside itself: the files of its data, and the base."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..bases import DEFAULT_BASE, is_endpoint, packaged_bases
from ..discovery import Registry
from ..errors import DataError, InputError, did_you_mean
from ..places import address_fault, is_address, plain_path
from ..types import SplitName
from .document import Document
from .faults import Fault
from .reading import missing_file
from .schema import SELF

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def absolute(folder: Path, written: str) -> Path:
    """The path that the user wrote, relative to `folder`. Links stay: what they lead to may lack a suffix."""
    return Path(os.path.abspath(folder / Path(written).expanduser()))  # noqa: PTH100


def check_files(document: Document, registry: Registry) -> Iterator[Fault]:
    """Faults of the places of the rows and of ordinary text; in the document they become absolute."""
    finding = Finding(document.folder, registry)
    places = [("data", split, finding.rows) for split in get_args(SplitName)]
    texts = [("replay", "source", finding.replayed), ("retain", "text", finding.text)]
    for section, key, find in [*places, *texts]:
        values = document.values.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):
            try:
                values[key] = find(values[key], key)
            except InputError as error:
                yield Fault(f"{section}.{key}", str(error))


@dataclass(frozen=True, slots=True)
class Finding:
    """Makes what the user wrote absolute: relative paths are relative to `folder`."""

    folder: Path
    registry: Registry

    def rows(self, written: str, split: SplitName) -> str:
        """A place that a source can read rows from. Raises InputError where there is none."""
        source = self.registry.source_of_scheme(written)
        if source:
            return source.resolve(written, self.folder, split)
        place = plain_path(written)
        place = _known_address(place) if is_address(place) else self._path(place)
        self.registry.source_for(place)
        return place

    def text(self, written: str, key: str) -> str:
        """The path of a file. Raises DataError where there is none."""
        path = absolute(self.folder, written)
        if path.is_dir():
            raise DataError(f"{path} is a folder: expected a file")
        if not path.exists():
            raise DataError(missing_file(path))
        return str(path)

    def replayed(self, written: str, key: str) -> str:
        """As `text`, or the word for what the base itself writes."""
        return written if written == SELF else self.text(written, key)

    def _path(self, written: str) -> str:
        """Of a file, or of a folder that a source reads."""
        path = absolute(self.folder, written)
        if not path.exists():
            raise DataError(missing_file(path) + self._scheme_meant(written))
        if path.is_dir() and not self.registry.source_of_folder(path):
            known = [name for source in self.registry.sources.values() for name in source.folders]
            also = f", or a folder that holds {' or '.join(known)}" if known else ""
            raise DataError(f"{path} is a folder: expected a file{also}")
        return str(path)

    def _scheme_meant(self, written: str) -> str:
        scheme, colon, _ = written.partition(":")
        schemes = [source.scheme for source in self.registry.sources.values() if source.scheme]
        return did_you_mean(scheme, schemes) if colon else ""


def _known_address(address: str) -> str:
    fault = address_fault(address)
    if fault:
        raise DataError(fault)
    return address


def check_packages(document: Document) -> Iterator[Fault]:
    """Faults of keys that need a package which is not installed."""
    data = document.values.get("data")
    wanted = isinstance(data, dict) and data.get("near_duplicates") is not None
    if wanted and importlib.util.find_spec("datasketch") is None:
        needs = "needs the package datasketch, which is not installed"
        yield Fault("data.near_duplicates", f"{needs}: pip install 'stepladder[near-duplicates]'")


def check_base(document: Document) -> Iterator[Fault]:
    """The fault of the base, as far as its name tells; a path in the document becomes absolute."""
    base = document.values.get("base", DEFAULT_BASE)
    if not isinstance(base, str) or base in packaged_bases() or is_endpoint(base):
        return
    path = absolute(document.folder, base)
    if path.exists():
        document.values["base"] = str(path)
        fault = _model_fault(path)
    elif base.startswith((".", "/", "~")) or base.endswith(".gguf"):
        fault = missing_file(path)
    else:
        fault = None if HUB_ID.fullmatch(base) else _unknown_base(base)
    if fault:
        yield Fault("base", fault)


def _model_fault(path: Path) -> str | None:
    if path.is_dir():
        known = (path / "config.json").is_file()
        return None if known else f"{path} has no config.json: expected a model that transformers can load"
    return None if path.suffix == ".gguf" else f"{path} is a file: expected a folder or a .gguf file"


def _unknown_base(base: Any) -> str:
    known = packaged_bases()
    return (
        f"no base {base!r}{did_you_mean(base, known)}: expected {', '.join(known)}, a folder, "
        "a .gguf file, or a hub id such as owner/name"
    )
