"""Events where there is no server to send them to, or none that answers, in processes of their own."""

import os
import subprocess
import sys

import pytest

ANNOUNCE = """
import sys
from stepladder.core.environment import bootstrap
bootstrap()
from stepladder.flows.events import announce
announce("promoted", {"name": "colours", "version": "2", "previous": "1"}, print)
print("prefect" in sys.modules)
"""
PROFILES = """
active = "ours"
[profiles.ours]
PREFECT_API_URL = "http://127.0.0.1:9/api"
"""


@pytest.fixture
def announced(tmp_path):
    """What is printed when an event is announced: lines of the log, then whether Prefect was imported."""

    def announce(profiles=None):
        home = tmp_path / "home" / "prefect"
        home.mkdir(parents=True)
        if profiles:
            (home / "profiles.toml").write_text(profiles)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment = {**kept, "HOME": str(tmp_path), "STEPLADDER_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", ANNOUNCE]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    return announce


def test_without_a_server_nothing_is_sent_nor_imported(announced):
    assert announced() == "False\n"


def test_a_server_of_a_profile_that_does_not_answer_is_one_line_on_the_log(announced):
    first, second = announced(PROFILES).splitlines()
    assert first.startswith("the event stepladder.promoted did not reach Prefect: ConnectError")
    assert second == "True"
