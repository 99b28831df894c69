"""The Prefect engine: one flow, each node of the graph one task, the graph's edges its only edges.

Nodes run one at a time, so one worker is enough, and no wait can lock it up: every task is submitted after
those it needs. What a task leaves is reused by our own store; Prefect's caching is off. Only paths pass
between tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect import Task, allow_failure, flow, get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from ..core.errors import StepError
from ..core.steps.execute import Outcome, execute, is_blocked
from ..core.steps.graph import Graph, Node
from ..core.steps.store import Store
from ..core.training.children import Children
from .prefect_home import end_server_when_killed, server_answers
from .slots import is_limited, slot_for
from .watch import Silence, Watcher

ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)  # typed otherwise than `flow` asks for
Outcomes = dict[str, Outcome]
Conclude = Callable[[Mapping[str, Outcome]], State]


@dataclass(frozen=True, slots=True)
class FlowRun:
    """Which flow a walk is a run of, what that run is called, and how its outcomes become its last state.

    `cluster` is the address of the scheduler of a cluster to spread over, if any.
    """

    flow: str
    name: str
    conclude: Conclude
    cluster: str | None = None


class StepFailed(StepError):
    """Ends the task of a failed node; nodes that tolerate it find the log and the error in `folder`."""

    def __init__(self, message: str, folder: Path | None = None) -> None:  # so that it can be pickled
        super().__init__(message)
        self.folder = folder


def walk(graph: Graph, store: Store, children: Children, watcher: Watcher, flow_run: FlowRun) -> Outcomes:
    """Do every node of the graph as a flow run; the outcome of each by its id.

    Raises StepError where the server goes away for longer than Prefect asks again.
    """
    outcomes: Outcomes = {}
    climb_all: Callable[[], None] = partial(climb, graph, store, children, watcher, outcomes)
    if flow_run.cluster:
        from .cluster import Spread

        climb_all = Spread(flow_run.cluster, graph, store, children, watcher, outcomes).climb

    @flow(name=flow_run.flow, flow_run_name=flow_run.name, task_runner=ONE_AT_A_TIME)
    def stepladder() -> State:
        climb_all()
        return flow_run.conclude(outcomes)

    with server_answers():
        state = stepladder(return_state=True)
        if len(outcomes) < len(graph.nodes):  # not a step of ours: the flow itself came to grief
            state.result()
    return outcomes


def climb(graph: Graph, store: Store, children: Children, watcher: Watcher, outcomes: Outcomes) -> None:
    """Do every node in the body of a flow, and fill `outcomes` on the way."""

    limited = is_limited()

    def do(node: Node, folders: dict[str, Path | None], log: Callable[[str], None]) -> Outcome:
        if not is_blocked(node, outcomes):
            watcher.started(node)
        with slot_for(node, limited):
            outcomes[node.id] = execute(node, folders, store, children, log)
        watcher.ended(node, outcomes[node.id])
        return outcomes[node.id]

    end_server_when_killed(children)
    try:
        futures = _submit(graph, do, watcher)
        for future in futures.values():
            future.wait()
    except BaseException:  # cancelled or interrupted: Prefect waits for the running task, so end that now
        children.stop()
        raise
    for node in graph.nodes:
        if node.id not in outcomes:  # Prefect did not start it, since what it needs has failed
            do(node, {needed: outcomes[needed].folder for needed in node.needs}, get_run_logger().info)


def climb_whole(children: Children, graph: Graph, store: Store, cluster: str | None = None) -> Outcomes:
    """Do every node in the body of a flow, with Prefect's log alone looking on; the outcome of each."""
    outcomes: Outcomes = {}
    if cluster:
        from .cluster import Spread

        Spread(cluster, graph, store, children, Silence(), outcomes).climb()
    else:
        climb(graph, store, children, Silence(), outcomes)
    return outcomes


def name_flow_run(name: str) -> None:
    """Give the flow run, from whose body this is called, a name that is known only now."""
    context = FlowRunContext.get()
    assert context and context.flow_run, "called from the body of a flow"
    with get_client(sync_client=True) as client:
        client.update_flow_run(context.flow_run.id, name=name)


Do = Callable[[Node, dict[str, Path | None], Callable[[str], None]], Outcome]


def _submit(graph: Graph, do: Do, watcher: Watcher) -> dict[str, PrefectFuture[Any]]:
    futures: dict[str, PrefectFuture[Any]] = {}
    for node in graph.nodes:
        needed = {
            each: allow_failure(futures[each]) if node.tolerant else futures[each] for each in node.needs
        }
        futures[node.id] = task_of(node, do, watcher).submit(needed)
    return futures


def task_of(node: Node, do: Do, watcher: Watcher) -> Task[..., Any]:
    """A task that is given what each needed node has left: a folder, or None where it never ran."""

    # No tags: for each tagged task Prefect asks its server for a slot, seconds where the server is busy.
    @task(name=node.title, task_run_name=node.title, cache_policy=NO_CACHE)
    def step(needs: dict[str, Any]) -> State:
        logger = get_run_logger()

        def log(text: str) -> None:
            logger.info(text)
            watcher.line(node, text)

        outcome = do(node, {each: _folder(value) for each, value in needs.items()}, log)
        if outcome.done:
            return Completed(name=outcome.status.capitalize(), data=str(outcome.folder))
        raise StepFailed(outcome.failure.message if outcome.failure else "", outcome.folder)

    return step


def _folder(value: str | BaseException | None) -> Path | None:
    """The folder that a needed task left; of a failed one, that of its error; None where it never ran."""
    if isinstance(value, StepFailed):
        return value.folder
    if isinstance(value, BaseException):
        raise value
    return Path(value) if value is not None else None
