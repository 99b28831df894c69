"""The services of deployments/compose.yaml as plain processes with the same settings, and a project for them.

Names of machines, ports and folders are other ones; a service is up when its own health check says so.
"""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ports import free_port

DEPLOYMENTS = Path(__file__).parents[3] / "deployments"
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

    def deploy(self, name):
        self.type("prefect", "--no-prompt", "deploy", "--name", name, "--prefect-file", "prefect.yaml")

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


@contextlib.contextmanager
def databases(postgres):
    """By the same file as in a container, with the user of compose.yaml; dropped afterwards."""
    import psycopg

    lines = (DEPLOYMENTS / "databases.sql").read_text().splitlines()
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute("create role stepladder superuser login")
        for line in lines:
            connection.execute(line)
        try:
            yield
        finally:
            for name in re.findall(r"create database (\w+)", "\n".join(lines)):
                connection.execute(f"drop database {name} with (force)")
            connection.execute("drop role stepladder")


ROWS = [
    {"text": f"{owner} {thing} {verb} {colour}", "colour": colour}
    for owner in ("my", "your", "the")
    for thing in ("car", "house", "door")
    for verb in ("is", "was")
    for colour in ("red", "blue")
]
TRAIN, TEST = ROWS[:28], ROWS[28:]


def write_rows(path, rows):
    """At once, so that nobody reads a part of them."""
    new = path.with_suffix(".new")
    new.write_text("".join(json.dumps(row) + "\n" for row in rows))
    new.replace(path)


def make_project(folder, base):
    (folder / "rows").mkdir()
    for name, rows in (("train", TRAIN), ("test", TEST)):
        write_rows(folder / "rows" / f"{name}.jsonl", rows)
    short, long = "lora: {rank: 2, epochs: 1}", "lora: {rank: 2, epochs: 100000}"
    for name, method in (("colours", short), ("endless", long)):
        (folder / f"{name}.yaml").write_text(CONFIG.format(name=name, base=base, method=method))


def write_deployments(folder):
    """Those of deployments/: `nightly` every minute, `weekly` without an end."""
    example = "examples/support/stepladder.yaml"
    text = (DEPLOYMENTS / "prefect.yaml").read_text()
    nightly, _, others = text.partition("- name: weekly")
    nightly = replaced(nightly, {example: "colours.yaml", '"0 3 * * *"': '"* * * * *"'})
    others = replaced(others, {example: "endless.yaml", "data.limit={}": "choose.margin=0.02"})
    (folder / "prefect.yaml").write_text(f"{nightly}- name: weekly{others}")


@contextlib.contextmanager
def open_stack(folder, postgres, base):
    """Both servers are up; a worker is yet to be started. All are killed afterwards."""
    make_project(folder, base)
    write_deployments(folder)
    with databases(postgres):
        stack = Stack(folder, *ours(folder, postgres.rpartition(":")[2]))
        try:
            stack.start("prefect")
            stack.start("mlflow")
            stack.type("prefect", "work-pool", "create", "stepladder", "--type", "process")
            yield stack
        finally:
            for name in list(stack.running):
                stack.kill(name)


def ours(folder, database):
    """What is here in place of what is in compose.yaml, and the address of Prefect's API."""
    prefect, mlflow, health = (str(free_port()) for _ in range(3))
    accounts = folder / "accounts.ini"
    accounts.write_text(
        replaced((DEPLOYMENTS / "accounts.ini").read_text(), {"postgres:5432": f"127.0.0.1:{database}"})
    )
    found = {
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
    return found, f"http://127.0.0.1:{prefect}/api"
