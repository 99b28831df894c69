"""The last step: the run's folder, made whole beside its place and then put there.

It holds hard links to what the steps left, so that it costs no second copy of any weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.near import NEAR_FILE
from ..discovery import discover
from ..files import link
from ..report.folder import (
    GRAPH,
    PAGE,
    PICTURE,
    RESULT,
    begin,
    judged_on_the_same_rows,
    replace,
    write_config,
)
from ..report.page import Page, write_page
from .candidate import say
from .compare import DETAILS
from .execute import of_the_run

ENTRY = (
    *("id", "method", "rung", "settings", "status", "error", "metrics", "validation_metrics"),
    *("retention", "cost", "artifact", "predictions"),
)


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Makes the run's folder; `folder` itself stays empty. Returns {"run_dir"}."""
    sources = Sources(spec["needs"], spec["failed"])
    run_dir = Path(spec["run"]["run_dir"])
    before = _read(run_dir / RESULT)
    new = begin(run_dir)
    result = _result(spec, sources)
    _link_all(new, spec, sources)
    write_config(new, spec["config"], spec["run"])
    _link(run_dir / GRAPH, new / GRAPH)
    (new / RESULT).write_text(json.dumps(result, indent=2) + "\n")
    (new / PAGE).write_text(write_page(_page(spec, sources, result)))
    replace(new, run_dir)
    _announce(result, before)
    return {"run_dir": str(run_dir)}


@dataclass(frozen=True, slots=True)
class Sources:
    """The folders of the steps before, finished or failed."""

    needs: Mapping[str, str]
    failed: Mapping[str, Mapping[str, Any]]

    def result(self, node_id: str) -> dict[str, Any]:
        """What a finished step returned; empty for any other."""
        return _read(Path(self.needs[node_id]) / RESULT) if node_id in self.needs else {}

    def folders(self) -> dict[str, Path]:
        """Of all steps that ran."""
        failed = {node: about["folder"] for node, about in self.failed.items() if about["folder"]}
        return {node: Path(folder) for node, folder in {**self.needs, **failed}.items()}


def _result(spec: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    """The content of result.json."""
    compared, registered = sources.result("compare"), sources.result("register")
    candidates = compared.get("candidates") or [_untried(each, spec) for each in spec["candidates"]]
    run, run_dir = spec["run"], Path(spec["run"]["run_dir"])
    broken = of_the_run(sources.failed)
    done = not broken and any(each["status"] == "ok" for each in candidates)
    return {
        "name": run["name"],
        "fingerprint": run["fingerprint"],
        "status": "ok" if done else "failed",
        "run_dir": str(run_dir),
        "data": sources.result("render").get("data") or sources.result("read").get("data") or {},
        "candidates": [_entry(each, run_dir) for each in candidates],
        "choice": compared.get("choice") or {"id": None, "reason": _why_nothing(sources, broken)},
        "registered": registered.get("registered"),
    }


def _entry(candidate: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """A candidate's entry, with its files where they lie in the run's folder."""
    own = run_dir / "candidates" / candidate["id"]
    entry = {key: candidate[key] for key in ENTRY}
    # Only where `data.slices` is set, something was searched, the fit has noted something.
    entry |= {key: candidate[key] for key in ("slices", "searched", "tuned", "notes") if key in candidate}
    places = {"artifact": own / "artifact", "predictions": own / "predictions.jsonl"}
    return entry | {key: str(place) if candidate[key] else None for key, place in places.items()}


def _untried(candidate: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a candidate in a run that ended before any was compared."""
    entry: dict[str, Any] = {**dict.fromkeys(ENTRY), "metrics": {}, "validation_metrics": {}, "cost": {}}
    entry |= {key: candidate[key] for key in ("id", "method", "rung", "settings")}
    return entry | {"status": "skipped", **spec["failures"].get(candidate["id"], {})}


def _why_nothing(sources: Sources, broken: list[str]) -> str:
    first = next((node for node in broken if sources.failed[node]["status"] == "failed"), None)
    return f"{first}: {sources.failed[first]['error']}" if first else "nothing was compared"


def _link_all(new: Path, spec: Mapping[str, Any], sources: Sources) -> None:
    folders = sources.folders()
    for node, folder in folders.items():
        _link(folder / "log.txt", new / "logs" / f"{node.replace(':', '-')}.txt")
    for node in ("read", "render"):  # the later one's is the fuller one
        if node in folders:
            _link(folders[node] / "quarantine.jsonl", new / "quarantine.jsonl")
    if "read" in folders:
        _link(folders["read"] / NEAR_FILE, new / NEAR_FILE)
    for candidate in spec["candidates"]:
        own, name = new / "candidates" / candidate["id"], candidate["id"]
        if f"fit:{name}" in folders:
            _link(folders[f"fit:{name}"] / "progress.jsonl", own / "progress.jsonl")
        if f"fit:{name}" in sources.needs:
            _link(folders[f"fit:{name}"] / "artifact", own / "artifact")
        if f"evaluate:{name}" in sources.needs:
            for file in ("predictions.jsonl", PICTURE):
                _link(folders[f"evaluate:{name}"] / file, own / file)
        if "compare" in sources.needs:
            _link(folders["compare"] / DETAILS / f"{name}.json", own / f"{DETAILS}.json")


def _link(source: Path, target: Path) -> None:
    if source.exists():
        target.unlink(missing_ok=True)
        link(source, target)


def _page(spec: Mapping[str, Any], sources: Sources, result: Mapping[str, Any]) -> Page:
    faults = {node: str(about["error"]) for node, about in sources.failed.items() if about["folder"]}
    compared, chosen = sources.result("compare"), result["choice"]["id"]
    return Page(
        result=result,
        table=compared.get("table", ""),
        metric=compared.get("metric", ""),
        details=_read(Path(sources.needs["compare"], DETAILS, f"{chosen}.json")) if chosen else {},
        faults=faults,
        near_duplicates=sources.result("read").get("near_duplicates"),
        seen_before=judged_on_the_same_rows(spec["run"]),
        pictures=_pictures(spec, sources),
    )


def _pictures(spec: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """Of the candidates whose task can be drawn: id → file, as seen from the page."""
    ids = [each["id"] for each in spec["candidates"] if f"evaluate:{each['id']}" in sources.needs]
    drawn = [each for each in ids if Path(sources.needs[f"evaluate:{each}"], PICTURE).is_file()]
    return {each: f"candidates/{each}/{PICTURE}" for each in drawn}


def _announce(result: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Tell plugins of each candidate whose end is news since the run's folder was last made."""
    registry = discover()
    run = {key: result[key] for key in ("name", "fingerprint", "run_dir")}
    known = {each["id"]: each["status"] for each in before.get("candidates", ())}
    for candidate in result["candidates"]:
        if candidate["status"] in ("skipped", known.get(candidate["id"])):
            continue
        for fault in registry.fire("candidate_finished", run=run, candidate=candidate):
            say(fault)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object at `path`, empty where there is none."""
    value: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return value
