"""What the steps of a candidate share: its base, its adapter, and the rows they are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..discovery import Registry, discover
from ..method import Adapted
from ..model.adapter import Description, read_adapter
from ..model.base import Base, load_base
from ..model.locate import BaseRef


def say(message: str) -> None:
    """One line on the step's log."""
    print(message, flush=True)  # noqa: T201  (the child's standard output is the task's log)


def open_base(spec: Mapping[str, Any]) -> Base:
    return load_base(BaseRef(**spec["base"]), say)


def needed(spec: Mapping[str, Any], kind: str) -> Path:
    """The folder of the candidate's own step of that kind."""
    return Path(spec["needs"][f"{kind}:{spec['candidate']['id']}"])


def open_adapted(spec: Mapping[str, Any], base: Base, registry: Registry | None = None) -> Adapted:
    """The fitted candidate on its base."""
    folder = needed(spec, "fit") / "artifact"
    configured = Description.read(folder).settings == spec["candidate"]["settings"]
    return read_adapter(folder, base, registry or discover(), trusted=configured)
