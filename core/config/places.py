"""What a config names outside itself: the files of its data, and the base."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..discovery import Registry
from ..errors import PluginError, did_you_mean
from .document import Document
from .faults import Fault
from .reading import missing_file
from .schema import DEFAULT_BASE

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def absolute(folder: Path, written: str) -> Path:
    """The path that the user wrote, relative to `folder`. Links stay: what they lead to may lack a suffix."""
    return Path(os.path.abspath(folder / Path(written).expanduser()))  # noqa: PTH100


def check_files(document: Document, registry: Registry) -> Iterator[Fault]:
    """Faults of the files; their paths in the document become absolute."""
    for section, key in (("data", "train"), ("data", "validation"), ("data", "test"), ("retain", "text")):
        values = document.values.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):
            path = absolute(document.folder, values[key])
            values[key] = str(path)
            fault = _file_fault(path) or (_source_fault(path, registry) if section == "data" else None)
            if fault:
                yield Fault(f"{section}.{key}", fault)


def _file_fault(path: Path) -> str | None:
    if path.is_dir():
        return f"{path} is a folder: expected a file"
    return None if path.exists() else missing_file(path)


def _source_fault(path: Path, registry: Registry) -> str | None:
    try:
        registry.source_for(path)
    except PluginError as error:
        return str(error)
    return None


def check_base(document: Document) -> Iterator[Fault]:
    """The fault of the base, as far as its name tells; a path in the document becomes absolute."""
    base = document.values.get("base", DEFAULT_BASE)
    if not isinstance(base, str) or base == DEFAULT_BASE:
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
    return (
        f"no base {base!r}{did_you_mean(base, [DEFAULT_BASE])}: expected {DEFAULT_BASE}, a folder, "
        "a .gguf file, or a hub id such as owner/name"
    )
