"""Finished steps on disk, found by fingerprint: `<runs>/steps/<kind>-<fingerprint[:16]>/`.

A step works in `….partial` and is renamed when all is written and flushed, so that a finished folder is
whole or absent. `manifest.json` names every file with its sha256; a folder that does not match it is done
again. `….failed` keeps the log of the last failure, `….scratch` what a killed step wants to find again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import file_lock
from ..manifest import renamed, write_manifest
from ..training.children import RESULT


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
            remove(renamed(self.partial, self._beside(f"{os.getpid()}.gone")))
        self.partial.mkdir(parents=True)
        self.scratch.mkdir(exist_ok=True)
        return self.partial

    def finish(self) -> Path:
        """Make the worked-in folder the finished one."""
        write_manifest(self.partial)
        remove(self.final)
        renamed(self.partial, self.final)
        self.tidy()
        return self.final

    def tidy(self) -> None:
        """Beside the finished folder nothing of what led to it stays; not before, since a kill may come."""
        for old in (self.failed, self.scratch):
            remove(old)

    def fail(self) -> Path:
        """Keep the worked-in folder as that of a failure; the scratch folder stays for the next try."""
        remove(self.failed)
        return renamed(self.partial, self.failed)

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


def read_result(folder: Path) -> dict[str, Any]:
    """What the step that finished in `folder` returned."""
    result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return result


def remove(folder: Path) -> None:
    """Delete a folder, whether it is there or not."""
    shutil.rmtree(folder, ignore_errors=True)
