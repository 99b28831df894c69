"""A run of Stepladder as runs of MLflow: one for the run, and below it one for each candidate.

It is recorded once: the same fingerprint with the same outcome finds what is there. A record that was left
unfinished, by a killed process or a server that went away, is made anew, and then the unfinished one is
thrown away.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from ..environment import home
from ..files import file_lock
from .client import connect, experiment_id

FINGERPRINT, OUTCOME, CANDIDATE, COMPLETE, RECORDER = (
    *("stepladder.fingerprint", "stepladder.outcome"),
    *("stepladder.candidate", "stepladder.complete", "stepladder.recorder"),
)
STATUS = {"ok": "FINISHED", "failed": "FAILED", "skipped": "KILLED"}
# A record is made in seconds; after this time nobody is at work on one that is not complete.
ABANDONED_AFTER_SECONDS = 3600
MOST_METRICS = 1000
MOST_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to be recorded. `compared` is the result of the step that compared.

    `curves` maps candidates to their progress.jsonl.
    """

    run: Mapping[str, Any]
    config: Mapping[str, Any]
    compared: Mapping[str, Any]
    curves: Mapping[str, Path]

    @property
    def outcome(self) -> str:
        return hashlib.sha256(json.dumps(self.compared, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """Ids of MLflow's runs: of the whole and of each candidate."""

    run_id: str
    candidates: Mapping[str, str]


def record_run(recording: Recording) -> Recorded:
    """Record the run unless that has been done."""
    client = connect()
    experiment = experiment_id(client, recording.run["name"])
    with file_lock(home() / "locks" / f"record-{recording.run['fingerprint'][:16]}"):
        recorded = _find(client, experiment, recording) or _record(client, experiment, recording)
        _sweep(client, experiment, recording, recorded)
    return recorded


def _find(client: MlflowClient, experiment: str, recording: Recording) -> Recorded | None:
    for found in _search(client, experiment, recording):
        if COMPLETE in found.data.tags:
            children = _children(client, experiment, found.info.run_id)
            whole = [run for run in children if not _is_empty(run)]
            return Recorded(found.info.run_id, {run.data.tags[CANDIDATE]: run.info.run_id for run in whole})
    return None


def _sweep(client: MlflowClient, experiment: str, recording: Recording, recorded: Recorded) -> None:
    """Throw away what tries before left, and what was made twice where a request was sent again."""
    for found in _search(client, experiment, recording):
        if COMPLETE not in found.data.tags and _is_abandoned(found):
            _discard(client, [*_children(client, experiment, found.info.run_id), found])
    children = _children(client, experiment, recorded.run_id)
    _discard(client, [run for run in children if _is_empty(run)])


def _is_empty(candidate: Run) -> bool:
    """Whether nothing was logged to it, as every candidate has parameters."""
    return not candidate.data.params


def _is_abandoned(unfinished: Run) -> bool:
    """From this home, where the lock is ours, nobody can be at work on it; elsewhere its age tells."""
    age = time.time() - unfinished.info.start_time / 1000
    return bool(unfinished.data.tags.get(RECORDER) == _recorder() or age > ABANDONED_AFTER_SECONDS)


def _recorder() -> str:
    return f"{socket.gethostname()}:{home()}"


def _search(client: MlflowClient, experiment: str, recording: Recording) -> list[Run]:
    wanted = {FINGERPRINT: recording.run["fingerprint"], OUTCOME: recording.outcome}
    condition = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in wanted.items())
    return list(client.search_runs([experiment], condition))


def _children(client: MlflowClient, experiment: str, parent: str) -> list[Run]:
    return list(client.search_runs([experiment], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'"))


def _discard(client: MlflowClient, runs: Iterable[Run]) -> None:
    for run in runs:
        client.set_terminated(run.info.run_id, "KILLED")
        client.delete_run(run.info.run_id)


def _record(client: MlflowClient, experiment: str, recording: Recording) -> Recorded:
    run, compared = recording.run, recording.compared
    tags = {
        MLFLOW_RUN_NAME: Path(run["run_dir"]).name,
        FINGERPRINT: run["fingerprint"],
        OUTCOME: recording.outcome,
        RECORDER: _recorder(),
        "stepladder.run_dir": run["run_dir"],
        "stepladder.choice": compared["choice"]["id"] or "",
        "stepladder.reason": compared["choice"]["reason"],
        **{f"stepladder.data.{split}_sha256": digest for split, digest in run["data_sha256"].items()},
    }
    parent = client.create_run(experiment, tags=tags).info.run_id
    client.log_text(parent, yaml.safe_dump(dict(recording.config), sort_keys=False), "config.yaml")
    client.log_text(parent, compared["table"], "table.md")
    entries = compared["candidates"]
    candidates = {
        each["id"]: _record_candidate(client, experiment, parent, each, recording) for each in entries
    }
    client.set_terminated(parent, "FINISHED" if compared["choice"]["id"] else "FAILED")
    client.set_tag(parent, COMPLETE, "yes")
    return Recorded(parent, candidates)


def _record_candidate(
    client: MlflowClient, experiment: str, parent: str, entry: Mapping[str, Any], recording: Recording
) -> str:
    tags = {MLFLOW_PARENT_RUN_ID: parent, MLFLOW_RUN_NAME: entry["id"], CANDIDATE: entry["id"]}
    run_id: str = client.create_run(experiment, tags=tags).info.run_id
    params = [Param(key, str(value)[:MOST_CHARACTERS]) for key, value in _params(entry)]
    error = [RunTag("stepladder.error", entry["error"])] if entry["error"] else []
    client.log_batch(run_id, params=params, tags=error)
    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, 0) for key, value in _figures(entry)]
    if entry["id"] in recording.curves:
        metrics += _curves(recording.curves[entry["id"]], now)
    for start in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])
    client.set_terminated(run_id, STATUS[entry["status"]])
    return run_id


def _params(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "method", entry["method"]
    yield "rung", entry["rung"]
    yield from entry["settings"].items()


def _figures(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Test and validation figures, forgetting and cost; what was not measured is left out."""
    for prefix, figures in (("", entry["metrics"]), ("validation_", entry["validation_metrics"])):
        for name, figure in figures.items():
            yield f"{prefix}{name}", figure["value"]
    others = {**(entry["retention"] or {}), **entry["cost"]}
    yield from ((name, float(value)) for name, value in others.items() if value is not None)


def _curves(path: Path, now: int) -> list[Metric]:
    points = (json.loads(line) for line in path.read_text().splitlines())
    return [
        Metric(f"curve/{name}", value, now, int(point["step"]))
        for point in points
        for name, value in point.items()
        if name != "step" and value is not None
    ]
