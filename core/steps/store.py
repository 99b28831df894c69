"""Finished steps on disk, found by fingerprint: `<runs>/steps/<kind>-<fingerprint[:16]>/`.

A step works in `….partial` and is renamed when all is written and flushed, so that a finished folder is
whole or absent. `manifest.json` names every file with its sha256; a folder that does not match it is done
again. `….failed` keeps the log of the last failure, `….scratch` what a killed step wants to find again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import file_lock
from ..training.children import RESULT

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one step: `final` once it is finished, the others on the way there."""

    final: Path

    @property
    def partial(self) -> Path:
        return self._beside("partial")

    @property
    def failed(self) -> Path:
        return self._beside("failed")

    @property
    def scratch(self) -> Path:
        return self._beside("scratch")

    def begin(self) -> Path:
        """An empty folder to work in, and nothing beside it that a killed run was about to delete."""
        for gone in self.final.parent.glob(f"{self.final.name}.*.gone"):
            remove(gone)
        if self.partial.exists():
            # The child of a killed run may live for a moment more: take the folder away before emptying it.
            remove(_renamed(self.partial, self._beside(f"{os.getpid()}.gone")))
        self.partial.mkdir(parents=True)
        self.scratch.mkdir(exist_ok=True)
        return self.partial

    def finish(self) -> Path:
        """Make the worked-in folder the finished one."""
        write_manifest(self.partial)
        for old in (self.final, self.failed, self.scratch):
            remove(old)
        return _renamed(self.partial, self.final)

    def fail(self) -> Path:
        """Keep the worked-in folder as that of a failure; the scratch folder stays for the next try."""
        remove(self.failed)
        return _renamed(self.partial, self.failed)

    def _beside(self, ending: str) -> Path:
        return self.final.with_name(f"{self.final.name}.{ending}")


@dataclass(frozen=True, slots=True)
class Store:
    """All steps below `<runs>/steps`."""

    folder: Path

    def place(self, kind: str, fingerprint: str) -> Place:
        return Place(self.folder / f"{kind}-{fingerprint[:16]}")

    @contextlib.contextmanager
    def locked(self, place: Place, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the step for this caller alone; `waiting` is called when another one has it."""
        with file_lock(self.folder / ".locks" / place.final.name, waiting):
            yield


def is_whole(folder: Path) -> bool:
    """Whether the folder holds exactly what its manifest says."""
    try:
        expected = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    found = {_name(folder, path): path for path in _files(folder)}
    if found.keys() != expected.keys():
        return False
    return all(sha256(path) == expected[name] for name, path in found.items())


def read_result(folder: Path) -> dict[str, Any]:
    """What the step that finished in `folder` returned."""
    result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return result


def write_manifest(folder: Path) -> None:
    """Name every file with its hash, and flush them all to the disk."""
    files = {}
    for path in _files(folder):
        _flush(path)
        files[_name(folder, path)] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2, sort_keys=True))
    _flush(folder / MANIFEST)
    _flush(folder)


def remove(folder: Path) -> None:
    """Delete a folder, whether it is there or not."""
    shutil.rmtree(folder, ignore_errors=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    manifest = folder / MANIFEST  # the step's own; an artifact inside has one that counts as content
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != manifest)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _renamed(old: Path, new: Path) -> Path:
    old.rename(new)
    _flush(new.parent)
    return new


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
