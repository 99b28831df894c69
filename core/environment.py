"""The one bootstrap: environment variables that Prefect and MLflow read when they are imported.

`bootstrap` runs before either of them is imported, in the command and in every child. It only fills gaps:
a value that the user set wins.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote

# Scheme, user, password and the rest of a server's address; a password may hold an @ that is not quoted.
WITH_USER = re.compile(r"(https?://)([^:/?#@]+)(?::([^/?#]*))?@(.*)", re.IGNORECASE)
CREDENTIALS = re.compile(r"(?<=://)[^\s'\"/]*@")


def home() -> Path:
    """The folder of everything that outlives a run: STEPLADDER_HOME, else `~/.stepladder`. Absolute."""
    chosen = os.environ.get("STEPLADDER_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".stepladder"


def bootstrap() -> None:
    """Fill the gaps of `os.environ`, and put this interpreter's programs on PATH."""
    os.environ["STEPLADDER_HOME"] = str(home())  # children may work in another folder
    _take_credentials_out()
    for name, value in _defaults().items():
        os.environ.setdefault(name, value)
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    if programs not in path.split(os.pathsep):
        os.environ["PATH"] = f"{programs}{os.pathsep}{path}"


def installed(distribution: str) -> str:
    """Its version; empty where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def without_credentials(text: str) -> str:
    """The same text with no user and no password in any address."""
    return CREDENTIALS.sub("", text)


def _take_credentials_out() -> None:
    """Name user and password of MLFLOW_TRACKING_URI by themselves: MLflow puts the address into messages.

    They win over those already named, as they would if the address were called as it is.
    """
    found = WITH_USER.fullmatch(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if found:
        scheme, user, password, rest = found.groups(default="")
        os.environ["MLFLOW_TRACKING_URI"] = scheme + rest
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)


def _defaults() -> dict[str, str]:
    return {
        "DO_NOT_TRACK": "1",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # MLflow's own 8 tries of up to 120 seconds are too patient for a step that can be done again at any
        # time: these end after 12 seconds where nobody listens, after 2 minutes where nobody answers.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        # Otherwise `mlflow server` starts seven consumers of jobs that we never send.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home() / 'mlflow.db'}",
        "MLFLOW_UV_AUTO_DETECT": "false",
        "PREFECT_HOME": str(_prefect_home()),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect's own 20 seconds are too short for its first start on a slow machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    }


def _prefect_home() -> Path:
    """Prefect's own folder where the user keeps profiles there (they may name a server), else ours."""
    usual = Path.home() / ".prefect"
    return usual if (usual / "profiles.toml").exists() else home() / "prefect"
