"""The step that checks a registered version, or a candidate's artifact folder, by loading and asking it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..package.verify import verify_artifact, verify_package
from .model import find_model


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: model (a version or an artifact folder). Returns {"model", "checked": what → what was found}.

    Raises InputError where there is no such model, ModelError for the first thing that is not as it was.
    """
    model = find_model(spec["model"], folder)
    if model.version is None:
        return {"model": model.name, "checked": verify_artifact(model.artifact)}
    checked = {"registry": "loader and package are those that were registered"}
    return {"model": model.name, "checked": {**checked, **verify_package(model.artifact.parent)}}
