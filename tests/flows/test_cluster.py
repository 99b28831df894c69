"""A graph of fakes over a local cluster of two workers, which are processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fakes.small import candidate, graph
from stepladder.core.errors import InputError
from stepladder.core.steps.ending import ending
from stepladder.core.steps.store import Store
from stepladder.core.training.children import Children
from stepladder.flows.inline import walk as walk_inline
from stepladder.flows.watch import Silence


@pytest.fixture(scope="module")
def cluster():
    dask = pytest.importorskip("dask")
    from distributed import LocalCluster

    # A worker that is a daemon may have no children.
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def spread(server, cluster, store, children):
    from stepladder.flows import ladder

    return lambda built, name: ladder.walk(built, store, children, Silence(), name, cluster)


def results(outcomes):
    """What each node left, but for which process did it."""
    found = {}
    for node_id, outcome in outcomes.items():
        result = dict(outcome.result) if outcome.result else outcome.failure.message
        if isinstance(result, dict):
            result.pop("pid")
        found[node_id] = (outcome.status, json.dumps(result).replace(str(outcome.folder.parent), ""))
    return found


def test_candidates_are_done_at_the_same_time_with_the_results_of_one_machine(
    spread, store, children, tmp_path
):
    (tmp_path / "met").mkdir()
    built = graph(meet=str(tmp_path / "met"))
    outcomes = spread(built, "spread")  # each fit waits for the other one
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    again = walk_inline(built, type(store)(tmp_path / "inline" / "steps"), children, Silence())
    assert results(outcomes) == results(again)
    specs = {node_id: json.loads((o.folder / "spec.json").read_text()) for node_id, o in outcomes.items()}
    assert {(needed, node) for node, spec in specs.items() for needed in spec["needs"]} == built.edges
    assert {outcome.status for outcome in spread(built, "once more").values()} >= {"reused"}


def test_a_candidate_that_fails_ends_alone(spread):
    built = graph(candidate("zero"), candidate("lora"), fail={"fit:lora": "kill"})
    outcomes = spread(built, "one-fails")
    assert {node_id for node_id, outcome in outcomes.items() if not outcome.done} == {
        *("fit:lora", "merge:lora", "evaluate:lora")
    }
    assert "was killed by SIGKILL" in outcomes["fit:lora"].failure.message
    assert outcomes["evaluate:lora"].status == "skipped"
    assert ending(outcomes).exit_code == 0


def test_a_flow_that_is_scheduled_spreads_from_its_body(cluster, server, tmp_path):
    from prefect import flow
    from stepladder.flows.prefect_engine import ONE_AT_A_TIME, climb_whole

    @flow(name="scheduled", task_runner=ONE_AT_A_TIME)
    def scheduled(folder: str, address: str):
        children = Children(kinds="fakes", preload=())
        built = graph(meet=f"{folder}/met")
        outcomes = climb_whole(children, built, Store(Path(folder, "steps")), address)
        children.stop()
        return [outcome.status for outcome in outcomes.values()]

    (tmp_path / "met").mkdir()
    assert set(scheduled(str(tmp_path), cluster)) == {"ok"}  # each fit waits for the other one


# A process that walks a run whose one fit waits for another.
WALK = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's job in the background ignores
sys.path.insert(0, sys.argv[1])
from fakes.small import candidate, graph
from stepladder.core.environment import bootstrap
bootstrap()
from stepladder.core.steps.store import Store
from stepladder.core.training.children import Children
from stepladder.flows import ladder
from stepladder.flows.watch import Silence
_, _, folder, cluster = sys.argv
built, store = graph(candidate("lora"), meet=folder + "/met"), Store(Path(folder, "steps"))
ladder.walk(built, store, Children(kinds="fakes", preload=()), Silence(), "waits", cluster)
"""
KINDS = Path(__file__).parents[1] / "core" / "steps" / "kinds"


@pytest.mark.faults
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_a_worker_does_ends_with_the_run(spread, cluster, tmp_path, sent):
    from prefect.settings import PREFECT_API_URL

    (tmp_path / "met").mkdir()
    command = [sys.executable, "-c", WALK, str(KINDS), str(tmp_path), cluster]
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    with (tmp_path / "log.txt").open("w") as log:
        run = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    fit = psutil.Process(int(awaited(tmp_path / "met" / "lora", run)))
    run.send_signal(sent)
    started = time.monotonic()
    fit.wait(timeout=60)
    assert time.monotonic() - started < 5
    run.wait()
    outcomes = spread(graph(), "after")  # the workers are of use as before
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}


def awaited(path, process):
    """What is written there, as soon as it is."""
    while not (path.exists() and path.read_text()):
        assert process.poll() is None, (path.parents[1] / "log.txt").read_text()
        time.sleep(0.05)
    return path.read_text()


def test_the_engine_inline_has_no_cluster():
    from stepladder.flows.engines import check_cluster

    with pytest.raises(InputError, match="expected --engine prefect"):
        check_cluster("inline", "tcp://127.0.0.1:8786")
