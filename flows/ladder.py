"""The Prefect engine: one flow, each node of the graph one task, the graph's edges its only edges.

Candidates run one at a time, so one worker is enough, and no wait can lock it up: every task is submitted
after those it needs. What a task leaves is reused by our own store; Prefect's caching is off. Only paths
pass between tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import Task, allow_failure, flow, get_client, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.server.api.server import SubprocessASGIServer
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from ..core.errors import StepError
from ..core.steps.ending import ending
from ..core.steps.execute import Outcome, execute, is_blocked
from ..core.steps.graph import Graph, Node
from ..core.steps.store import Store
from ..core.training.children import Children
from .planning import Request, open_run_folder, plan
from .watch import Silence, Watcher

FLOW_NAME = "stepladder"
ONE_AT_A_TIME: Any = ThreadPoolTaskRunner(max_workers=1)  # typed otherwise than `flow` asks for


class StepFailed(StepError):
    """Ends the task of a failed node; nodes that tolerate it find the log and the error in `folder`."""

    def __init__(self, message: str, folder: Path | None) -> None:
        super().__init__(message)
        self.folder = folder


def walk(graph: Graph, store: Store, children: Children, watcher: Watcher, name: str) -> dict[str, Outcome]:
    """Do every node of the graph as a flow run called `name`; the outcome of each by its id."""
    outcomes: dict[str, Outcome] = {}

    @flow(name=FLOW_NAME, flow_run_name=name, task_runner=ONE_AT_A_TIME)
    def stepladder() -> State:
        return climb(graph, store, children, watcher, outcomes)

    state = stepladder(return_state=True)
    if len(outcomes) < len(graph.nodes):  # not a step of ours: the flow itself came to grief
        state.result()
    return outcomes


@flow(name=FLOW_NAME, task_runner=ONE_AT_A_TIME)
def ladder(config: str, overrides: list[str] | None = None, runs: str = "runs") -> State:
    """The flow to serve and to schedule: a whole run, planned when it starts. Paths are on the worker."""
    log = get_run_logger().info
    children = Children()
    try:
        planned = plan(
            Request(Path(config), tuple(overrides or ()), Path(runs)), children, log, announce=True
        )
        open_run_folder(planned)
        _name_flow_run(planned.run_dir.name)
        return climb(planned.graph, planned.store, children, Silence(), {})
    finally:
        children.stop()


def climb(
    graph: Graph, store: Store, children: Children, watcher: Watcher, outcomes: dict[str, Outcome]
) -> State:
    """The body of the flow. Fills `outcomes` and returns the final state of the flow run."""

    def do(node: Node, folders: dict[str, Path | None], log: Callable[[str], None]) -> Outcome:
        if not is_blocked(node, outcomes):
            watcher.started(node)
        outcomes[node.id] = execute(node, folders, store, children, log)
        watcher.ended(node, outcomes[node.id])
        return outcomes[node.id]

    _end_server_when_killed(children)
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
    return _conclude(outcomes)


def _end_server_when_killed(children: Children) -> None:
    """Prefect's temporary server would outlive a killed flow for good."""
    for server in SubprocessASGIServer._instances.values():
        if server.server_process:
            children.guard(server.server_process.pid)


def _name_flow_run(name: str) -> None:
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
        futures[node.id] = _task(node, do, watcher).submit(needed)
    return futures


def _task(node: Node, do: Do, watcher: Watcher) -> Task[..., Any]:
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


def _conclude(outcomes: dict[str, Outcome]) -> State:
    """Leave the table in Prefect's own page of the run, and say how the run ended."""
    compared = outcomes["compare"].result
    if compared:
        choice = compared["choice"]
        text = f"{compared['table']}\n\n**{choice['id'] or 'nobody'}**: {choice['reason']}\n"
        create_markdown_artifact(text, key="comparison")
    end = ending(outcomes)
    return Failed(message=end.message) if end.exit_code else Completed(message="All steps are done.")
