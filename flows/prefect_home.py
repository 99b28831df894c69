"""What must be so before Prefect is imported by a command, and which server it has."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import InputError, StepError
from ..core.training.children import Children

SERVER = "PREFECT_API_URL"
TO_START = "prefect server start --host 127.0.0.1"
LOCAL = "http://127.0.0.1:4200/api"


def quiet_prefect() -> None:
    """Make Prefect's folder, and leave the console to the command; Prefect's server has the whole log."""
    make_home()
    for which in ("HANDLERS_CONSOLE", "INTERNAL"):
        os.environ.setdefault(f"PREFECT_LOGGING_{which}_LEVEL", "CRITICAL")


def make_home() -> None:
    """Make Prefect's folder, of which Prefect itself makes the last part only."""
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def end_server_when_killed(children: Children) -> None:
    """Prefect's temporary server, if this process has started one, would outlive a kill of it for good."""
    from prefect.server.api.server import SubprocessASGIServer

    for server in SubprocessASGIServer._instances.values():
        if server.server_process:
            children.guard(server.server_process.pid)


def has_server() -> bool:
    """Whether there is a server that outlives this process; Prefect is asked only where there may be one."""
    if "prefect" not in sys.modules:
        if not (os.environ.get(SERVER) or _profiles().exists()):
            return False
        quiet_prefect()
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def require_server(asked_by: str) -> None:
    """Raises InputError where no server is configured, StepError where it does not let us in or is silent."""
    if not has_server():
        raise InputError(
            f"{asked_by}: needs a Prefect server that stays, and {SERVER} names none. Start one with "
            f"`{TO_START}`, and say where it is: export {SERVER}={LOCAL}"
        )
    from httpx import HTTPError, HTTPStatusError
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    where = f"{asked_by}: the Prefect server at {PREFECT_API_URL.value()}"
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
            client.request("GET", "/admin/version")
    except HTTPStatusError as error:
        code = error.response.status_code
        hint = "set PREFECT_API_AUTH_STRING to what PREFECT_SERVER_API_AUTH_STRING is there"
        raise StepError(f"{where} answers {code}" + (f": {hint}" if code == 401 else "")) from None
    except HTTPError as error:
        raise StepError(
            f"{where} does not answer ({type(error).__name__}): is `{TO_START}` running?"
        ) from None


@contextlib.contextmanager
def server_answers() -> Iterator[None]:
    """Raises StepError where Prefect's server is gone in the middle of a run."""
    from httpx import TransportError

    try:
        yield
    except TransportError as error:
        raise StepError(
            f"the Prefect server does not answer any more ({type(error).__name__}): finished steps are "
            "kept; the same command goes on from there once it is back, with --engine inline also without it"
        ) from error


def _profiles() -> Path:
    """Where `prefect profile` keeps what the user has configured."""
    folder = os.environ.get("PREFECT_HOME", "~/.prefect")
    return Path(os.environ.get("PREFECT_PROFILES_PATH", f"{folder}/profiles.toml")).expanduser()
