"""The step that makes the chosen candidate a model version, and tells the plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..package.pack import Contents, pack
from ..package.verify import verify_package
from ..tracking.package import Chosen
from ..tracking.register import Registered, register
from .candidate import say
from .kept import results_kept
from .store import read_result


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns `registered` (name, version, alias; None if nobody was chosen) and `created`.

    `created` is False where the version was there before. Raises ModelError where the candidate, packed
    and loaded again, is not as it was evaluated.
    """
    compared = read_result(Path(spec["needs"]["compare"]))
    recorded = read_result(Path(spec["needs"]["record"]))
    chosen_id = compared["choice"]["id"]
    if chosen_id is None:
        return {"registered": None, "created": False}
    entry = next(each for each in compared["candidates"] if each["id"] == chosen_id)
    contents = Contents(spec["run"], entry, spec["base"], spec["config"], Path(spec["needs"]["render"]))
    chosen = Chosen(
        name=spec["config"]["register"],
        run=spec["run"],
        entry=entry,
        run_id=recorded["candidates"][chosen_id],
        pack=partial(_pack, contents),
    )
    with results_kept(spec["run"]["run_dir"]):
        registered = register(chosen)
    return {"registered": _announced(spec, registered), "created": registered.created}


def _pack(contents: Contents, folder: Path) -> None:
    """Make the package, and let it prove itself before anybody can see it."""
    for what, found in verify_package(folder, pack(contents, folder)).items():
        say(f"{what}: {found}")


def _announced(spec: Mapping[str, Any], registered: Registered) -> dict[str, Any]:
    """The version as result.json has it; plugins hear of it once, when it is made."""
    told = {key: value for key, value in asdict(registered).items() if key != "created"}
    if registered.created:
        run = {key: spec["run"][key] for key in ("name", "fingerprint", "run_dir")}
        for fault in discover().fire("registered", run=run, registered=told):
            say(fault)
    return told
