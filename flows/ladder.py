"""The flow of a whole run, by the Prefect engine: the one behind `stepladder run`, and one to schedule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from ..core.steps.ending import ending
from ..core.steps.execute import Outcome
from ..core.steps.graph import Graph
from ..core.steps.store import Store
from ..core.training.children import WITH_REGISTRY, Children
from .events import announce_registered
from .planning import Request, open_run_folder, plan
from .prefect_engine import ONE_AT_A_TIME, FlowRun, Outcomes, climb_whole, name_flow_run
from .prefect_engine import walk as walk_as
from .watch import Watcher

FLOW_NAME = "stepladder"


def walk(
    graph: Graph, store: Store, children: Children, watcher: Watcher, name: str, cluster: str | None = None
) -> Outcomes:
    """Do every node of a run's graph as a flow run called `name`; the outcome of each by its id."""
    return walk_as(graph, store, children, watcher, FlowRun(FLOW_NAME, name, conclude, cluster))


@flow(name=FLOW_NAME, task_runner=ONE_AT_A_TIME)
def ladder(
    config: str, overrides: list[str] | None = None, runs: str = "runs", cluster: str | None = None
) -> State:
    """The flow to serve and to schedule: a whole run, planned when it starts. Paths are on the worker.

    With `cluster`, the address of a Dask scheduler, candidates are spread over that.
    """
    log = get_run_logger().info
    children = Children(preload=WITH_REGISTRY)
    try:
        request = Request(Path(config), tuple(overrides or ()), Path(runs))
        planned = plan(request, children, log, announce=True)
        open_run_folder(planned)
        name_flow_run(planned.run_dir.name)
        outcomes = climb_whole(children, planned.graph, planned.store, cluster)
    finally:
        children.stop()
    announce_registered(outcomes, log)
    return conclude(outcomes)


def conclude(outcomes: Mapping[str, Outcome]) -> State:
    """Say how the run ended, and leave its table."""
    show_table(outcomes)
    end = ending(outcomes)
    return Failed(message=end.message) if end.exit_code else Completed(message="All steps are done.")


def show_table(outcomes: Mapping[str, Outcome]) -> None:
    """Leave the table in Prefect's own page of the run."""
    compared = outcomes["compare"].result
    if compared:
        choice = compared["choice"]
        text = f"{compared['table']}\n\n**{choice['id'] or 'nobody'}**: {choice['reason']}\n"
        create_markdown_artifact(text, key="comparison")
