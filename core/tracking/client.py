"""The connection to MLflow: one place decides the store, and makes its tables once.

The store is MLFLOW_TRACKING_URI, else one SQLite file under STEPLADDER_HOME (`bootstrap` says so). Processes
that meet a new SQLite file at once break each other's making of the tables, so that is done under a lock.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

from ..environment import bootstrap, home
from ..files import file_lock
from ..manifest import renamed

SQLITE, MEMORY = "sqlite:///", ":memory:"
REMOTE = ("http:", "https:", "databricks")
LOCKED_SECONDS = 60


def connect() -> MlflowClient:
    """A client of the store that is set, with its tables made."""
    bootstrap()
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every step of making its tables
    home().mkdir(parents=True, exist_ok=True)
    uri = os.environ["MLFLOW_TRACKING_URI"]
    mlflow.set_tracking_uri(uri)
    if _is_remote():  # its tables are its own business, and one that hangs must not hold up others here
        return MlflowClient()
    with file_lock(home() / "locks" / "mlflow"):
        _make_tables(uri)
        client = MlflowClient()
        client.search_experiments(max_results=1)
    return client


def _make_tables(uri: str) -> None:
    """Those of a new SQLite file, under another name until all are there.

    MLflow makes them in many transactions: a kill on the way would leave a file that it never opens again.
    """
    if not uri.startswith(SQLITE):
        return
    url = make_url(uri)
    final = Path(url.database or MEMORY)
    if final.name == MEMORY or final.exists():
        return
    new = final.with_name(f"{final.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):
        left.unlink(missing_ok=True)
    made = url.set(database=str(new)).render_as_string(hide_password=False)
    MlflowClient(made, made).search_experiments(max_results=1)
    renamed(new, final)


@event.listens_for(Engine, "connect")
def _wait_for_other_writers(connection: DBAPIConnection, record: object) -> None:
    """MLflow waits for a locked SQLite file in its sessions alone, not where it looks at the tables."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"pragma busy_timeout = {1000 * LOCKED_SECONDS}")


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, made or brought back from the bin if need be."""
    found = client.get_experiment_by_name(name) or _made(client, name)
    if found.lifecycle_stage == LifecycleStage.DELETED:
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _made(client: MlflowClient, name: str) -> Experiment:
    try:
        client.create_experiment(name, artifact_location=_artifact_location(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run has been quicker
            raise
    return client.get_experiment_by_name(name)


def _artifact_location(name: str) -> str | None:
    """An absolute folder; a server decides for itself."""
    return None if _is_remote() else (home() / "mlartifacts" / name).as_uri()


def _is_remote() -> bool:
    return bool(mlflow.get_tracking_uri().startswith(REMOTE))
