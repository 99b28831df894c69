"""The step that makes the version champion which the gates have let through, and tells the plugins."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..package.verify import verify_package
from ..tracking.champion import Promotion, promote
from ..tracking.client import connect
from ..tracking.versions import download, find, load_as_mlflow_does
from .candidate import say
from .store import read_result


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns {"promoted": {"name", "version", "previous"}}, None if the version was champion before."""
    contest = read_result(Path(spec["needs"]["contest"]))
    if contest["already"]:
        return {"promoted": None}
    champion = contest["champion"]
    promotion = Promotion(
        name=contest["name"],
        version=contest["challenger"]["version"],
        champion=champion["version"] if champion else None,
        token=spec["promotion"]["token"],
    )
    change = promote(connect(), promotion, partial(_verify, folder))
    if not change.moved:
        return {"promoted": None}
    told = {"name": change.name, "version": change.version, "previous": change.previous}
    for fault in discover().fire("promoted", promotion=told):
        say(fault)
    return {"promoted": told}


def _verify(folder: Path, uri: str) -> None:
    """Whether what `uri` points at now is what was registered, and loads as it will where it serves."""
    with tempfile.TemporaryDirectory(dir=folder) as fetched:
        verify_package(download(find(connect(), uri), Path(fetched) / "package"))
    load_as_mlflow_does(uri)
