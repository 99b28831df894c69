"""What a fit may use beside its rows: candidates that it builds on, other methods, rows of other files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.decoders import name_and_settings
from ..data.store import load_schema, load_split
from ..data.unanswered import Unanswered, read_unanswered
from ..discovery import Registry
from ..method import Adapted, Choice, Method
from ..model.adapter import build_method, opened
from ..model.base import Base


@dataclass(frozen=True, slots=True)
class Lent:
    """`rendered` is the folder of the run's rows, `data` what the config says of them, `artifacts` are the
    adapter folders of the candidates that the method needs.
    """

    registry: Registry
    rendered: Path
    data: Mapping[str, Any]
    artifacts: Mapping[str, Path]

    def candidate(self, candidate: str, base: Base) -> AbstractContextManager[Adapted]:
        return opened(self.artifacts[candidate], base, self.registry)

    def build(self, choice: Choice) -> Method:
        return build_method(*name_and_settings(choice), self.registry, trusted=True)

    def read(self, place: Path) -> Unanswered:
        """Rows without answers, less those with the input of a row that the run has. Raises DataError."""
        task = load_schema(self.rendered, self.registry.task).task
        known = {
            split: load_split(self.rendered / split).examples() for split in ("train", "validation", "test")
        }
        return read_unanswered(place, self.registry.source_for(str(place))(), task, self.data, known)
