"""Does one node of the graph: reuse it, run it in a child, or skip it. Both engines call this.

Only folders pass between nodes. The folder of a failed step holds `error.json`; a skipped one has none.
A step's spec is kept beside what it left, as `spec.json`: what it was told, and which folders it needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DiskFull, InputError
from ..files import is_disk_full, no_room
from ..manifest import is_whole
from ..training.children import DISK_FULL, ERROR, Children, Ended, Failure
from ..training.limits import Limits
from .graph import Node
from .store import Place, Store, read_result, remove

Log = Callable[[str], None]
Status = Literal["ok", "reused", "failed", "skipped"]
SPEC, OUTCOME = "spec.json", "outcome.json"
SKIPPED = "Skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a node. `folder` is None if it was skipped."""

    status: Status
    folder: Path | None = None
    result: Mapping[str, Any] | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    peak_memory_bytes: int | None = None

    @property
    def done(self) -> bool:
        return self.status in ("ok", "reused")


def execute(
    node: Node, folders: Mapping[str, Path | None], store: Store, children: Children, log: Log
) -> Outcome:
    """Do `node`, given the folder of each node that it needs (None if that one was skipped).

    Raises DiskFull where there is no room for what it writes.
    """
    failed = _failed_needs(node, folders)
    if failed and not _can_run(node, failed):
        return Outcome("skipped", failure=_skipped(failed))
    place = store.place(node.kind, _key(node, failed))
    with store.locked(place, lambda: log("waiting: another run is doing this step")):
        if node.reusable and is_whole(place.final):
            place.tidy()
            return read_outcome(place.final, "reused")
        try:
            return _run(node, _spec(node, folders, failed, place), place, children, log)
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise _out_of_room(place, no_room(node.title, store.folder)) from error


def look_up(node: Node, folders: Mapping[str, Path | None], store: Store) -> Outcome | None:
    """What became of `node` when it was last done, given the folders it needs; None if it never ended."""
    failed = _failed_needs(node, folders)
    if failed and not _can_run(node, failed):
        return Outcome("skipped", failure=_skipped(failed))
    place = store.place(node.kind, _key(node, failed))
    if is_whole(place.final):
        return read_outcome(place.final, "reused")
    return read_outcome(place.failed) if (place.failed / OUTCOME).exists() else None


def of_the_run(node_ids: Iterable[str]) -> list[str]:
    """Those nodes that belong to no single candidate."""
    return [node_id for node_id in node_ids if ":" not in node_id]


def is_blocked(node: Node, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether the node will be skipped for sure."""
    return not node.tolerant and not all(outcomes[needed].done for needed in node.needs)


def read_outcome(folder: Path, status: Status = "ok") -> Outcome:
    """The outcome of the step that left `folder`, finished or failed."""
    figures = json.loads((folder / OUTCOME).read_text())
    if (folder / ERROR).exists():
        return Outcome("failed", folder, failure=read_failure(folder), **figures)
    return Outcome(status, folder, read_result(folder), **figures)


def read_failure(folder: Path) -> Failure:
    return Failure(**json.loads((folder / ERROR).read_text()))


def _failed_needs(node: Node, folders: Mapping[str, Path | None]) -> dict[str, Failure]:
    """Why each needed node that is not finished has nothing to give."""
    failures = {needed: _failure_of(needed, folders[needed]) for needed in node.needs}
    return {needed: failure for needed, failure in failures.items() if failure}


def _failure_of(node_id: str, folder: Path | None) -> Failure | None:
    """Why a needed node has nothing to give; None if it is finished."""
    if folder is None:
        return Failure(SKIPPED, f"{node_id} was skipped")
    return read_failure(folder) if (folder / ERROR).exists() else None


def _can_run(node: Node, failed: Mapping[str, Failure]) -> bool:
    """The report is always written; others can do without candidates, if one has at least been tried."""
    if not node.tolerant or node.kind == "report":
        return node.tolerant
    tried = [needed for needed in node.needs if needed not in failed or failed[needed].type != SKIPPED]
    return bool(tried) and not of_the_run(failed)


def _skipped(failed: Mapping[str, Failure]) -> Failure:
    first, failure = next(iter(failed.items()))
    why = failure.message if failure.type == SKIPPED else f"{first} failed"
    return Failure(SKIPPED, f"skipped, since {why}", failure.exit_code)


def _key(node: Node, failed: Mapping[str, Failure]) -> str:
    """The node's fingerprint; another one where some of what it should have seen is missing."""
    if not failed:
        return node.fingerprint
    return hashlib.sha256(json.dumps([node.fingerprint, sorted(failed)]).encode()).hexdigest()


def _spec(
    node: Node, folders: Mapping[str, Path | None], failed: Mapping[str, Failure], place: Place
) -> dict[str, Any]:
    needs = {needed: str(folders[needed]) for needed in node.needs if needed not in failed}
    about = {"fingerprint": node.fingerprint, "scratch": str(place.scratch)}
    spec = {**node.spec, "needs": needs, **about}
    if node.tolerant:
        spec["failed"] = {needed: _failed(folders[needed], failed[needed]) for needed in failed}
        spec["failures"] = _failures_of_candidates(node.spec["candidates"], spec["failed"])
    return spec


def _failed(folder: Path | None, failure: Failure) -> dict[str, Any]:
    """What a tolerant node is told of a node that it goes without."""
    status = "skipped" if folder is None else "failed"
    return {"status": status, "error": failure.message, "folder": str(folder) if folder else None}


def _failures_of_candidates(
    candidates: Sequence[Mapping[str, Any]], failed: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Status and error of each candidate that did not come through, by its id."""
    failures = {}
    causes = [node for node in of_the_run(failed) if failed[node]["status"] == "failed"]
    for candidate in candidates:
        own = [failed[node] for node in _nodes_of(candidate["id"]) if node in failed]
        if not own:
            continue
        missing = causes or [each for each in candidate["needs"] if f"fit:{each}" in failed]
        error = f"skipped, since {missing[0]} failed" if missing else own[0]["error"]
        failures[candidate["id"]] = {"status": own[0]["status"], "error": error}
    return failures


def _nodes_of(candidate_id: str) -> list[str]:
    return [f"{kind}:{candidate_id}" for kind in ("fit", "merge", "evaluate")]


def _run(node: Node, spec: dict[str, Any], place: Place, children: Children, log: Log) -> Outcome:
    folder = place.begin()
    (folder / SPEC).write_text(json.dumps(spec, indent=2))
    ended = children.run(node.kind, spec, folder, log, _limits(node.kind, spec))
    if ended.failure and ended.failure.type == DISK_FULL:
        raise _out_of_room(place, ended.failure.message)
    (folder / OUTCOME).write_text(json.dumps(_figures(ended)))
    if ended.failure is None:
        return read_outcome(place.finish())
    if ended.failure.exit_code == InputError.exit_code:  # nothing to continue from: the input must change
        remove(place.scratch)
    return read_outcome(place.fail())


def _limits(kind: str, spec: Mapping[str, Any]) -> Limits:
    """Those of the config; gates, which may be a plugin's, are held to those of the version's own run."""
    if kind == "judge":
        return Limits(**read_result(Path(spec["needs"]["contest"]))["limits"])
    return Limits(**spec.get("config", {}).get("limits", {}))


def _out_of_room(place: Place, message: str) -> DiskFull:
    """What is half-written gives its room back; the scratch folder stays for the next try."""
    remove(place.partial)
    return DiskFull(message)


def _figures(ended: Ended) -> dict[str, Any]:
    return {"seconds": round(ended.seconds, 3), "peak_memory_bytes": ended.peak_memory_bytes}
