"""The step that finds who is to be promoted, and against whom: their packages, the gates, an approval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..package.layout import read_lineage
from ..tracking.champion import approval, reconcile
from ..tracking.client import connect
from ..tracking.copying import copy_version
from ..tracking.faults import MlflowError, Unreachable
from ..tracking.tags import CHALLENGER
from ..tracking.versions import Version, download, find

CHALLENGER_PACKAGE, CHAMPION_PACKAGE = "challenger", "champion"


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Leaves `challenger/` and `champion/`, the packages of both.

    Returns {"name", "challenger", "champion", "already", "gates", "limits", "approval"}. The champion is None
    where there is none; its `fault` says why there is no package of it. `already`: the challenger is the
    champion. `limits` are those of the run that made the challenger.
    """
    asked, client = spec["promotion"], connect()
    challenger = find(client, _reference(asked))
    reconcile(client, challenger.name)
    if asked["to"]:
        challenger = copy_version(client, challenger, asked["to"])
    champion = reconcile(client, challenger.name).champion
    result: dict[str, Any] = {
        "name": challenger.name,
        "challenger": _about(challenger),
        "champion": None,
        "already": champion == challenger.version,
        "gates": [],
        "limits": {},
        "approval": approval(challenger),
    }
    if result["already"]:
        return {**result, "champion": _about(challenger)}
    download(challenger, folder / CHALLENGER_PACKAGE)
    if champion:
        current = find(client, f"{challenger.name}/{champion}")
        result["champion"] = {**_about(current), "fault": _fault(current, folder / CHAMPION_PACKAGE)}
    config = read_lineage(folder / CHALLENGER_PACKAGE)["config"]
    gates = config["promote"]["gates"] if asked["gates"] is None else asked["gates"]
    return {**result, "gates": list(gates), "limits": config.get("limits", {})}


def _reference(asked: Mapping[str, Any]) -> str:
    name, version = asked["name"], asked["version"]
    return f"{name}/{version}" if version else f"{name}@{CHALLENGER}"


def _about(version: Version) -> dict[str, Any]:
    return {"version": version.version, "fingerprint": version.fingerprint}


def _fault(champion: Version, folder: Path) -> str:
    """Why the champion's package cannot be had; empty if it can. It may be replaced all the same."""
    try:
        download(champion, folder)
    except Unreachable:
        raise
    except (ModelError, MlflowError) as error:
        return str(error)
    return ""
