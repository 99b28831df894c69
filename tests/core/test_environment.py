"""The bootstrap fills gaps, and never changes what the user set."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from stepladder.core.environment import bootstrap, home, without_credentials


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of nothing but a user's folder; restored afterwards."""
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "PATH": "/usr/bin"})
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)


def test_everything_lies_in_one_folder_of_the_user(tmp_path: Path) -> None:
    bootstrap()
    own = tmp_path / ".stepladder"
    assert home() == own
    assert os.environ["STEPLADDER_HOME"] == str(own)
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{own}/mlflow.db"
    assert os.environ["PREFECT_HOME"] == str(own / "prefect")


def test_nothing_is_sent_and_no_pickle_is_read() -> None:
    bootstrap()
    said = {name: os.environ[name] for name in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")}
    assert said == {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_a_relative_home_becomes_absolute_for_children_that_work_elsewhere(tmp_path: Path) -> None:
    os.environ["STEPLADDER_HOME"] = "here"
    bootstrap()
    assert os.environ["STEPLADDER_HOME"] == str(tmp_path / "here")
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/here/mlflow.db"


def test_what_the_user_set_wins() -> None:
    theirs = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "9",
        "MLFLOW_TRACKING_URI": "http://registry:5000",
        "PREFECT_HOME": "/srv/prefect",
        "DO_NOT_TRACK": "0",
    }
    os.environ.update(theirs)
    bootstrap()
    assert {name: os.environ[name] for name in theirs} == theirs


@pytest.mark.parametrize(
    ("address", "bare", "user", "password"),
    [
        ("http://ann:hunter2@registry:5000/mlflow", "http://registry:5000/mlflow", "ann", "hunter2"),
        ("https://ann:p%40ss@w0rd@registry", "https://registry", "ann", "p@ss@w0rd"),
        ("HTTP://ann@registry", "HTTP://registry", "ann", ""),
    ],
)
def test_credentials_leave_the_address_of_the_server(
    address: str, bare: str, user: str, password: str
) -> None:
    os.environ |= {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_PASSWORD": "of another account"}
    bootstrap()
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    assert [os.environ[name] for name in names] == [bare, user, password]


def test_an_address_without_credentials_stays_as_it_is() -> None:
    for address in ("http://registry:5000/a@b", "postgresql://ann:hunter2@db/mlflow", "databricks://me"):
        os.environ["MLFLOW_TRACKING_URI"] = address
        bootstrap()
        assert os.environ["MLFLOW_TRACKING_URI"] == address
        assert "MLFLOW_TRACKING_USERNAME" not in os.environ


def test_texts_are_freed_of_credentials_and_nothing_else() -> None:
    told = "no postgresql://ann:hunter2@db/flow, but 'https://host/a@b' and ann@example.org"
    assert without_credentials(told) == "no postgresql://db/flow, but 'https://host/a@b' and ann@example.org"


def test_prefect_profiles_of_the_user_stay_in_force(tmp_path: Path) -> None:
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "profiles.toml").write_text("")
    bootstrap()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")


def test_the_programs_of_this_interpreter_come_first_once() -> None:
    programs = str(Path(sys.executable).parent)
    bootstrap()
    bootstrap()
    assert os.environ["PATH"] == f"{programs}{os.pathsep}/usr/bin"
