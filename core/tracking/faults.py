"""What MLflow's errors mean to the user, told without the credentials that an address may hold."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import mlflow
from mlflow import MlflowException
from mlflow.exceptions import HTTP_STATUS_TO_ERROR_CODE
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from ..environment import without_credentials
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
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        raise _translated(error) from error


def is_missing(error: MlflowException) -> bool:
    """Whether there is no such name, version or file."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def upsert(write: Callable[..., None], *values: str) -> None:
    """Set a tag or an alias. Two that set a new one at the same moment collide in MLflow's database."""
    try:
        write(*values)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write(*values)  # now it is there, and will be changed


def _translated(error: Exception) -> MlflowError:
    where = without_credentials(f"MLflow at {mlflow.get_tracking_uri()}")
    code, said = _code(error), without_credentials(_said(error))[:LONGEST]
    if code in UNREACHABLE:
        return Unreachable(f"{where} does not answer; see whether it runs (MLFLOW_TRACKING_URI): {said}")
    if code in FORBIDDEN:
        known = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return MlflowError(f"{where} does not let this user do that ({known}): {said}")
    return MlflowError(f"{where} says no ({code}): {said}")


def _code(error: Exception) -> str:
    """MLflow's code for the error; files go over the wire without one, by HTTP's own."""
    if isinstance(error, MlflowException):
        return str(error.error_code)
    answer = error.response if isinstance(error, RequestException) else None
    status = answer.status_code if answer is not None else 503
    return str(HTTP_STATUS_TO_ERROR_CODE.get(status, "INTERNAL_ERROR"))


def _said(error: BaseException) -> str:
    """The first cause in one line; where nobody answered, what the last try met."""
    while isinstance(error, MlflowException) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__
    last = getattr(error.args[0], "reason", None) if error.args else None
    text = str(last).rpartition(": ")[2] if last else str(error)
    return " ".join(text.split())
