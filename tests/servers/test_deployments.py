"""The services of deployments/compose.yaml as plain processes with the same settings, and what a worker does.

Names of machines, ports and folders are other ones; a service is up when its own health check says so.
"""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

pytestmark = pytest.mark.faults

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
SECRETS = {
    "POSTGRES_PASSWORD": "of-the-database",
    "PREFECT_API_AUTH_STRING": "admin:of-prefect",
    "MLFLOW_TRACKING_PASSWORD": "of-mlflow-123",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "for forms, of which there are none here",
}
CONFIG = """
name: {name}
base: {base}
task: classify
data:
  train: rows/train.jsonl
  test: rows/test.jsonl
  columns: {{input: text, label: colour}}
  instruction: which colour is the car ?
methods: [{method}]
register: {name}
"""
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE = 1800  # on a machine that others use as well


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def awaited(condition, what, seconds=PATIENCE):
    """The first true value of `condition`; `what` says what is missing."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what()
        time.sleep(0.5)
    return found


def replaced(text, changes):
    """All at once, so that nothing is replaced twice."""
    assert [theirs for theirs in changes if theirs not in text] == []
    return re.sub("|".join(map(re.escape, changes)), lambda theirs: changes[theirs[0]], text)


@dataclass
class Stack:
    """Services of compose.yaml as processes of `folder`; `ours` replaces what is there by what is here."""

    folder: Path
    ours: dict[str, str]
    api: str
    running: dict[str, subprocess.Popen] = field(default_factory=dict)

    def __post_init__(self):
        text = replaced((DEPLOYMENTS / "compose.yaml").read_text(), self.ours)
        self.services = yaml.safe_load(re.sub(r"\$\{(\w+):\?\}", lambda named: SECRETS[named[1]], text))[
            "services"
        ]

    def environment(self, service):
        foreign = ("MLFLOW_", "PREFECT_", "STEPLADDER_", "PG")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        own = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PWD": str(self.folder),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        return {**kept, **own, **self.services[service]["environment"]}

    def start(self, service, command=None, name=None):
        """Start the service, or another command in its environment, and wait until it is healthy."""
        about, name = self.services[service], name or service
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command or about["command"],
                cwd=self.folder,
                env=self.environment(service),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if command is None:
            awaited(lambda: self.healthy(service), lambda: self.log(service))

    def healthy(self, service):
        check = self.services[service]["healthcheck"]["test"][1:]
        return (
            subprocess.run(check, env=self.environment(service), capture_output=True, check=False).returncode
            == 0
        )

    def kill(self, name):
        """The process and all that it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running.pop(name).wait()

    def type(self, *command):
        """Run a command as if it were typed where the worker is."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment("worker"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def ask(self, path, **wanted):
        data = json.dumps(wanted).encode() if wanted else None
        known = base64.b64encode(SECRETS["PREFECT_API_AUTH_STRING"].encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {known}"}
        with urllib.request.urlopen(
            urllib.request.Request(self.api + path, data, headers), timeout=30
        ) as answer:
            return json.loads(answer.read())

    def runs(self, deployment):
        """The runs of a deployment that have started, in the order of their starts."""
        wanted = {"name": {"any_": [deployment]}}
        found = self.ask("/flow_runs/filter", deployments=wanted, sort="START_TIME_ASC")
        return [run for run in found if run["start_time"]]

    def logs(self, run):
        wanted = {"flow_run_id": {"any_": [run["id"]]}}
        return [line["message"] for line in self.ask("/logs/filter", logs=wanted, sort="TIMESTAMP_ASC")]

    def state(self, run):
        return self.ask(f"/flow_runs/{run['id']}")["state"]

    def start_run(self, deployment):
        (found,) = self.ask("/deployments/filter", deployments={"name": {"any_": [deployment]}})
        return self.ask(f"/deployments/{found['id']}/create_flow_run", state={"type": "SCHEDULED"})

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()[-6000:]


def make_databases(postgres):
    """By the same file as in a container, with the user of compose.yaml."""
    import psycopg

    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute("create role stepladder superuser login")
        for line in (DEPLOYMENTS / "databases.sql").read_text().splitlines():
            connection.execute(line)


def make_project(folder, base):
    (folder / "rows").mkdir()
    rows = [
        {"text": f"{owner} {thing} {verb} {colour}", "colour": colour}
        for owner in ("my", "your", "the")
        for thing in ("car", "house", "door")
        for verb in ("is", "was")
        for colour in ("red", "blue")
    ]
    for name, part in (("train", rows[:28]), ("test", rows[28:])):
        (folder / "rows" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    short, long = "lora: {rank: 2, epochs: 1}", "lora: {rank: 2, epochs: 100000}"
    for name, method in (("colours", short), ("endless", long)):
        (folder / f"{name}.yaml").write_text(CONFIG.format(name=name, base=base, method=method))


@pytest.fixture(scope="module")
def stack(postgres, tmp_path_factory, base_folder):
    folder = tmp_path_factory.mktemp("stack")
    make_databases(postgres)
    make_project(folder, base_folder)
    database = postgres.rpartition(":")[2]
    prefect, mlflow, health = (str(free_port()) for _ in range(3))
    accounts = folder / "accounts.ini"
    accounts.write_text(
        replaced((DEPLOYMENTS / "accounts.ini").read_text(), {"postgres:5432": f"127.0.0.1:{database}"})
    )
    ours = {
        "0.0.0.0": "127.0.0.1",
        "prefect:4200": f"127.0.0.1:{prefect}",
        "mlflow:5000": f"127.0.0.1:{mlflow}",
        "postgres:5432": f"127.0.0.1:{database}",
        "DATABASE_HOST: postgres": "DATABASE_HOST: 127.0.0.1",
        '"5432"': f'"{database}"',
        "4200": prefect,
        "5000": mlflow,
        "8080": health,
        "/srv/stepladder/deployments/accounts.ini": str(accounts),
        "/var/lib/mlflow": str(folder / "models"),
        "/var/lib/stepladder": str(folder / "home"),
        "/var/lib/prefect": str(folder / "server"),
    }
    stack = Stack(folder, ours, f"http://127.0.0.1:{prefect}/api")
    try:
        yield stack
    finally:
        for name in list(stack.running):
            stack.kill(name)


@pytest.fixture(scope="module")
def deployed(stack):
    """Both servers, the worker, and the deployments: `nightly` every minute, `weekly` without an end."""
    stack.start("prefect")
    stack.start("mlflow")
    example = "examples/support/stepladder.yaml"
    text = (DEPLOYMENTS / "prefect.yaml").read_text()
    nightly, _, others = text.partition("- name: weekly")
    nightly = replaced(nightly, {example: "colours.yaml", '"0 3 * * *"': '"* * * * *"'})
    others = replaced(others, {example: "endless.yaml", "data.limit={}": "choose.margin=0.02"})
    (stack.folder / "prefect.yaml").write_text(f"{nightly}- name: weekly{others}")
    stack.type("prefect", "work-pool", "create", "stepladder", "--type", "process")
    deploy(stack, "weekly")
    stack.start("worker")
    return stack


def deploy(stack, name):
    stack.type("prefect", "--no-prompt", "deploy", "--name", name, "--prefect-file", "prefect.yaml")


def test_nobody_is_let_in_without_the_password(deployed):
    for service in ("prefect", "mlflow"):
        (published,) = deployed.services[service]["ports"]
        port = published.rpartition(":")[2]
        path = {"prefect": "/api/admin/version", "mlflow": "/api/2.0/mlflow/experiments/get?experiment_id=0"}
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path[service]}", timeout=30)
        assert refused.value.code == 401


def cancel_in_the_fit(stack, deployment, ran_by):
    """Start a run, cancel it once a line of its fit is in Prefect's logs; seconds until that has ended."""
    run = stack.start_run(deployment)
    awaited(
        lambda: any(re.match(r"step \d+/\d+: ", line) for line in stack.logs(run)), lambda: stack.log(ran_by)
    )
    family = psutil.Process(stack.running[ran_by].pid).children(recursive=True)
    forked = [process for process in family if "forkserver" in " ".join(process.cmdline())]
    (fit,) = (process for process in forked if process.parent() in forked)
    started = time.monotonic()
    stack.ask(f"/flow_runs/{run['id']}/set_state", state={"type": "CANCELLING"})
    fit.wait(timeout=60)
    seconds = time.monotonic() - started
    _, alive = psutil.wait_procs(forked, timeout=60)
    assert not alive, "the fork server"
    awaited(lambda: stack.state(run)["type"] in FINAL, lambda: str(stack.state(run)))
    return seconds, stack.state(run)["type"]


def test_a_worker_s_run_that_is_cancelled_ends_its_fit_within_five_seconds(deployed):
    seconds, state = cancel_in_the_fit(deployed, "weekly", "worker")
    assert state == "CANCELLED"
    assert seconds < 5


def test_a_served_run_that_is_cancelled_ends_its_fit_within_five_seconds(deployed):
    command = ["stepladder", "schedule", "endless.yaml", "--cron", "0 0 1 1 *", "--timezone", "Europe/Berlin"]
    deployed.start("worker", command, name="served")
    awaited(
        lambda: deployed.ask("/deployments/filter", deployments={"name": {"any_": ["endless"]}}),
        lambda: deployed.log("served"),
    )
    (found,) = deployed.ask("/deployments/filter", deployments={"name": {"any_": ["endless"]}})
    assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert found["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
    assert found["entrypoint"] == "stepladder.flows.refresh.refresh"
    assert found["parameters"]["config"] == str(deployed.folder / "endless.yaml")
    assert "one at a time, at: " in deployed.log("served")
    seconds, state = cancel_in_the_fit(deployed, "endless", "served")
    assert state == "CANCELLED"
    assert seconds < 5


def test_the_nightly_run_trains_compares_registers_and_promotes(deployed):
    deploy(deployed, "nightly")

    def ended():
        """But those that were due while it went."""
        done = ("COMPLETED", "FAILED", "CRASHED")
        return [run for run in deployed.runs("nightly") if run["state_type"] in done]

    first = awaited(ended, lambda: deployed.log("worker"))[0]
    assert (first["state"]["type"], first["state"]["message"]) == (
        "COMPLETED",
        "Version 1 of colours is the champion.",
    )
    said = "\n".join(deployed.logs(first))
    assert re.search(r"^step \d+: validation loss", said, re.MULTILINE), "lines of the fit's child"
    (left,) = deployed.folder.glob("runs/colours-*/result.json")
    assert json.loads(left.read_text())["registered"]["version"] == "1"


def test_the_next_one_does_nothing_and_says_so(deployed):
    def unchanged():
        return [run for run in deployed.runs("nightly") if run["state_name"] == "Unchanged"]

    run = awaited(unchanged, lambda: str([run["state"] for run in deployed.runs("nightly")]))[0]
    assert run["state"]["message"].startswith("nothing new: rows and config are those of colours-")
    assert run["state"]["message"].endswith("where it ended so: Version 1 of colours is the champion.")


def test_no_password_is_written_anywhere(stack):
    for path in stack.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name, value in SECRETS.items() if value.encode() in content], path
