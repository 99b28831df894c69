"""Evaluations of model versions as runs of MLflow, in the experiment that is called as the registered model.

Such a run has the version's tags, with its name and number, by which it is found. The same evaluation is
recorded once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from ..environment import home
from ..files import file_lock
from .client import connect, experiment_id
from .faults import mlflow_answers
from .tags import of_the_version
from .versions import Version

EVALUATION, MODEL, VERSION = "stepladder.evaluation", "stepladder.model", "stepladder.version"


@mlflow_answers()
def record_evaluation(version: Version, evaluated: Mapping[str, Any]) -> str:
    """The id of the run that holds the content of result.json, made unless it is there."""
    client = connect()
    experiment = experiment_id(client, version.name)
    wanted = f"tags.`{EVALUATION}` = '{evaluated['fingerprint']}' and attributes.status = 'FINISHED'"
    with file_lock(home() / "locks" / f"evaluation-{evaluated['fingerprint'][:16]}"):
        for found in client.search_runs([experiment], wanted):
            return str(found.info.run_id)
        return _record(client, experiment, version, evaluated)


def _record(client: MlflowClient, experiment: str, version: Version, evaluated: Mapping[str, Any]) -> str:
    tags = {
        **of_the_version(version.tags),
        EVALUATION: evaluated["fingerprint"],
        MODEL: version.name,
        VERSION: version.version,
    }
    name = Path(evaluated["folder"]).name
    run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    now = int(time.time() * 1000)
    figures = [Metric(name, value, now, 0) for name, value in _figures(evaluated)]
    client.log_batch(run_id, metrics=figures)
    client.log_dict(run_id, dict(evaluated), "result.json")
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _figures(evaluated: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, figure in evaluated["metrics"].items():
        yield name, figure["value"]
        yield f"{name}_low", figure["low"]
        yield f"{name}_high", figure["high"]
    yield "rows", evaluated["data"]["test"]["kept"]
    if evaluated["trained_on"] is not None:
        yield "trained_on", evaluated["trained_on"]
