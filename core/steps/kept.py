"""What the last steps of a run say when MLflow fails: the results are on disk, and how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..tracking.faults import MlflowError, mlflow_answers


@contextlib.contextmanager
def results_kept(run_dir: str) -> Iterator[None]:
    """Around calls of MLflow when the run is done in `run_dir`. Raises MlflowError with the next command."""
    try:
        with mlflow_answers():
            yield
    except MlflowError as error:
        raise type(error)(
            f"{error}\n"
            f"Nothing is lost: the results are whole in {run_dir}\n"
            f"When MLflow takes them: `stepladder register {run_dir}`"
        ) from error
