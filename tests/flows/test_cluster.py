"""A graph of fakes over a local cluster of two workers, which are processes of their own."""

import json

import pytest
from fakes.small import candidate, graph
from stepladder.core.errors import InputError
from stepladder.core.steps.ending import ending
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


def test_the_engine_inline_has_no_cluster():
    from stepladder.flows.engines import check_cluster

    with pytest.raises(InputError, match="expected --engine prefect"):
        check_cluster("inline", "tcp://127.0.0.1:8786")
