"""A registered candidate, loaded where it serves: its base, its adapter merged in, and its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..errors import ModelError
from ..method import Adapted
from ..model.adapter import read_adapter
from ..model.base import load_base
from ..model.locate import BaseRef, resolve_base
from ..types import Example

SERVED_FILE = "served.json"
ARTIFACT = "artifact"


@dataclass(frozen=True)
class Served:
    """Answers texts as the candidate did when it was evaluated."""

    adapted: Adapted

    def predict(self, inputs: Sequence[str]) -> list[dict[str, Any]]:
        """For each input the answer, and each possible answer's score where the candidate has them."""
        examples = [Example(str(index), text, "") for index, text in enumerate(inputs)]
        return [
            {"predicted": said.predicted, "scores": dict(said.scores or {})}
            for said in self.adapted.predict(examples)
        ]


def load_served(folder: Path) -> Served:
    """Load what a registered version holds: `artifact/` and served.json (`base`: name, path, fingerprint).

    Raises ModelError where the base is not to be had, or is another one now.
    """
    recorded = BaseRef(**json.loads((folder / SERVED_FILE).read_text())["base"])
    base = load_base(_same_base(recorded))
    adapted = read_adapter(folder / ARTIFACT, base, discover())
    adapted.merge()
    return Served(adapted)


def _same_base(recorded: BaseRef) -> BaseRef:
    """The base by its name, else by the folder in which it lay; it must have the recorded content."""
    tried: list[str] = []
    for name in (recorded.name, recorded.path):
        try:
            found = resolve_base(name, Path.cwd())
        except ModelError as error:
            tried.append(str(error))
            continue
        if found.fingerprint == recorded.fingerprint:
            return found
        tried.append(f"{name}: its content is another now ({found.fingerprint[:12]})")
    wanted = f"{recorded.name} ({recorded.fingerprint[:12]})"
    raise ModelError(f"the base {wanted} is not on this machine: " + "; ".join(tried))
