"""The Prefect engine against a real server, on a graph of fakes."""

import asyncio
import json
import time

import pytest
from fakes.small import candidate, graph
from stepladder.core.steps.ending import ending
from stepladder.flows.watch import Silence


@pytest.fixture
def walk(server):
    from stepladder.flows import ladder

    return ladder.walk


def _title(task):
    """A task that never ran carries the end of its key behind its name."""
    return task.name.rpartition("-")[0] if task.state.name == "NotReady" else task.name


def _ended(task):
    """A task whose events are still on their way has a row at the server before it has a state."""
    return task.state is not None and (task.state.is_final() or task.state.name == "NotReady")


def flow_run(name, number):
    """The flow run of this name, and its tasks by their names, once the server knows how all have ended."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    async def ask():
        async with get_client() as client:
            wanted = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
            (run,) = await client.read_flow_runs(flow_run_filter=wanted)
            return run, await client.read_task_runs(flow_run_filter=wanted)

    end = time.monotonic() + 30
    while True:
        run, tasks = asyncio.run(ask())
        if sum(map(_ended, tasks)) == number:
            return run, {_title(task): task for task in tasks}
        assert time.monotonic() < end, "the server has not heard of the end of every task"


def test_a_whole_run(walk, store, children):
    built = graph(retain={"text": "x"}, register="y")
    outcomes = walk(built, store, children, Silence(), "whole-run")
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    run, tasks = flow_run("whole-run", len(outcomes))
    assert run.state.type.value == "COMPLETED"
    assert {task.state.name for task in tasks.values()} == {"Ok"}
    titles = {task.id: name for name, task in tasks.items()}
    executed = {(titles[each.id], name) for name, task in tasks.items() for each in task.task_inputs["needs"]}
    by_title = {node.title: node.id for node in built.nodes}
    assert {(by_title[one], by_title[other]) for one, other in executed} == built.edges
    specs = {node_id: json.loads((o.folder / "spec.json").read_text()) for node_id, o in outcomes.items()}
    assert {(needed, node_id) for node_id, spec in specs.items() for needed in spec["needs"]} == built.edges


def test_a_failed_candidate_does_not_stop_the_others(walk, store, children):
    tuned = candidate("tuned", needs=("lora",))
    built = graph(candidate("zero"), candidate("lora"), tuned, fail={"fit:lora": "kill"})
    outcomes = walk(built, store, children, Silence(), "one-failed")
    rows = {row["id"]: row["status"] for row in outcomes["compare"].result["candidates"]}
    assert rows == {"zero": "ok", "lora": "failed", "tuned": "skipped"}
    assert ending(outcomes).exit_code == 0
    run, tasks = flow_run("one-failed", len(outcomes))
    assert run.state.type.value == "COMPLETED"
    assert tasks["fit lora"].state.type.value == "FAILED"
    assert tasks["fit tuned"].state.name == "NotReady"
    assert outcomes["fit:tuned"].status == "skipped"


def test_a_second_run_reuses_what_the_first_one_left(walk, store, children):
    walk(graph(), store, children, Silence(), "first")
    outcomes = walk(graph(), store, children, Silence(), "second")
    assert outcomes["fit:lora"].status == "reused"
    _, tasks = flow_run("second", len(outcomes))
    assert tasks["fit lora"].state.name == "Reused"


def test_the_flow_to_serve_plans_the_run_itself(server, tmp_path):
    from stepladder.flows.ladder import ladder

    state = ladder(str(tmp_path / "absent.yaml"), runs=str(tmp_path / "runs"), return_state=True)
    assert state.is_failed()
    assert "absent.yaml: 1 fault" in state.message
    assert not (tmp_path / "runs").exists()


def test_the_flow_run_fails_with_the_reason(walk, store, children):
    outcomes = walk(graph(fail={"render": "input"}), store, children, Silence(), "bad-input")
    assert ending(outcomes).exit_code == 2
    run, _ = flow_run("bad-input", len(outcomes))
    assert run.state.type.value == "FAILED"
    assert run.state.message == "render: the input is wrong"
    assert outcomes["report"].status == "ok"
