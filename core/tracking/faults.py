"""What MLflow's errors mean to the user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import mlflow
from mlflow import MlflowException

from ..errors import StepError

UNREACHABLE = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "IO_ERROR", "REQUEST_LIMIT_EXCEEDED")
FORBIDDEN = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
LONGEST = 300


class MlflowError(StepError):
    """MLflow refused, or could not do, what was asked of it."""


class Unreachable(MlflowError):
    """MLflow did not answer; asked again later it may."""


@contextlib.contextmanager
def mlflow_answers() -> Iterator[None]:
    """Turn MLflow's errors that nobody expected into Stepladder's. Raises MlflowError, Unreachable."""
    try:
        yield
    except MlflowException as error:
        raise _translated(error) from error


def is_missing(error: MlflowException) -> bool:
    """Whether there is no such name, version or file."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def _translated(error: MlflowException) -> MlflowError:
    where, said = f"MLflow at {mlflow.get_tracking_uri()}", str(error)[:LONGEST]
    if error.error_code in UNREACHABLE:
        return Unreachable(f"{where} does not answer; see whether it runs (MLFLOW_TRACKING_URI): {said}")
    if error.error_code in FORBIDDEN:
        known = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return MlflowError(f"{where} does not let this user do that ({known}): {said}")
    return MlflowError(f"{where} says no ({error.error_code}): {said}")
