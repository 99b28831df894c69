"""The automation of deployments/, by its README's commands word for word, on a real Prefect server."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from commands import environment_in

DEPLOYMENTS = Path(__file__).parents[3] / "deployments"
OURS = {"support-intents": "colours", "examples/support/stepladder.yaml": "zero.yaml"}
DEADLINE = 90
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def adapted(text):
    """The example for the project's own model and config."""
    for theirs, ours in OURS.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    return text


def shown_commands():
    """What the README says to type, in order, but for the variables."""
    section = (DEPLOYMENTS / "README.md").read_text().partition("## What happens to a model")[2]
    blocks = re.findall(r"```sh\n(.*?)```", adapted(section), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if not line.startswith("export ")]


class Terminals:
    """Runs commands as if they were typed in the project's folder."""

    def __init__(self, project):
        self.folder = project.folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self.environment = environment_in(
            self.folder / "home",
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            PWD=str(self.folder),
            PREFECT_API_URL=self.url(""),
            PREFECT_HOME=str(self.folder / "prefect"),
            PREFECT_SERVER_API_PORT=self.port,
            PREFECT_WORKER_QUERY_SECONDS="2",
            DO_NOT_TRACK="1",
        )

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/api{path}"

    def type(self, command):
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def leave_running(self, command):
        with (self.folder / f"{command.split()[1]}.log").open("w") as log:
            process = subprocess.Popen(
                shlex.split(command),
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield
            finally:
                _end(process)

    def ask(self, path, **wanted):
        data = json.dumps(wanted).encode() if wanted else None
        request = urllib.request.Request(self.url(path), data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def healthy(self):
        try:
            return self.ask("/health")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def ended_flow_run(self):
        """The evaluation that the event has started, once it has ended."""
        flow = {"name": {"any_": ["stepladder-evaluate"]}}
        runs = self.ask("/flow_runs/filter", flows=flow)
        return next((run for run in runs if run["state_type"] in FINAL), None)

    def log(self):
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


def _end(process):
    """A worker of Prefect may hang in its own shutting down, which is not what is tested."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, terminals):
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, terminals.log()
        time.sleep(0.3)
    return found


@pytest.mark.faults
def test_a_registered_version_is_evaluated_by_itself(project):
    server, pool, deploy, worker, run, by_hand = shown_commands()
    terminals = Terminals(project)
    (project.folder / "deployments").mkdir()
    example = adapted((DEPLOYMENTS / "prefect.yaml").read_text())
    (project.folder / "deployments" / "prefect.yaml").write_text(example)
    with terminals.leave_running(server):
        wait_for(terminals.healthy, terminals)
        terminals.type(pool)
        terminals.type(deploy)
        with terminals.leave_running(worker):
            said = terminals.type(run)
            version = re.search(r"@challenger, version (\d+)", said)[1]
            flow_run = wait_for(terminals.ended_flow_run, terminals)
    assert flow_run["state_type"] == "COMPLETED", (flow_run["state"], terminals.log())
    model = f"models:/colours/{version}"
    assert flow_run["parameters"]["model"] == model
    (left,) = project.folder.glob(f"runs/evaluations/colours-{version}-*/result.json")
    result = json.loads(left.read_text())
    assert (result["model"], result["config"]) == (model, str(project.folder / "zero.yaml"))
    assert f"{model} on {result['data']['test']['kept']} test rows" in flow_run["state"]["message"]
    assert by_hand == "stepladder evaluate models:/colours@challenger zero.yaml"
