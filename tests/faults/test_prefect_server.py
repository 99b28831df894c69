"""Prefect's server is stopped while a run is under way, and started again or not."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from ports import free_port
from real_run import wait_until

START_SECONDS = 180
PREFECT = ("run", "colours.yaml")

pytestmark = pytest.mark.faults


class PrefectServer:
    """A process of its own on one SQLite file."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None

    @property
    def api(self):
        return f"http://127.0.0.1:{self.port}/api"

    def start(self):
        foreign = ("PREFECT_", "MLFLOW_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        own = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", *where],
                env={**kept, **own},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.is_up, "Prefect's server", START_SECONDS)

    def is_up(self):
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.api}/health", timeout=2) as answer:
            return answer.status == 200
        return False

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path_factory):
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.stop()


def test_a_run_outlives_a_server_that_is_started_again(project, server):
    running = project.start(*PREFECT, PREFECT_API_URL=server.api)
    running.read_until("fit lora |")
    server.stop()
    running.read_until("✓ fit lora")
    server.start()
    ended = running.wait()
    assert ended.code == 0, ended.said
    assert project.versions() == [("colours", 1)]
    project.assert_nothing_is_left()


def test_a_run_whose_server_stays_away_is_told_and_done_again_without_one(project, server):
    running = project.start(*PREFECT, PREFECT_API_URL=server.api)
    running.read_until("fit lora |")
    server.stop()
    ended = running.wait()
    assert ended.code == 1, ended.said
    assert "the Prefect server does not answer any more (ConnectError): finished steps are kept" in ended.said
    assert "Traceback" not in ended.said
    again = project.stepladder(*PREFECT, "--engine", "inline")
    assert again.code == 0, again.said
    assert "✓ read  done before" in again.out
    assert project.versions() == [("colours", 1)]
    server.start()
