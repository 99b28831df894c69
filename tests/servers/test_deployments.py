"""The services of deployments/ as helpers/stack.py starts them, and what a worker does."""

import json
import re
import time
import urllib.error
import urllib.request

import psutil
import pytest
from stack import FINAL, SECRETS, awaited

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def deployed(stack):
    stack.deploy("weekly")
    stack.start("worker")
    return stack


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
    deployed.deploy("nightly")

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
