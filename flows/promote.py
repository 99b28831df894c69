"""The flow of a promotion, by the Prefect engine: that of `stepladder promote`, and one to schedule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from ..core.steps.execute import Outcome
from ..core.steps.graph import Graph
from ..core.steps.store import Store
from ..core.training.children import WITH_REGISTRY, Children
from .prefect_engine import ONE_AT_A_TIME, FlowRun, Outcomes, climb_whole
from .prefect_engine import walk as walk_as
from .promotion import Ended, Promotion, carry_out, ended
from .watch import Watcher

FLOW_NAME = "stepladder-promote"


def walk(graph: Graph, store: Store, children: Children, watcher: Watcher, name: str) -> Outcomes:
    """Do every node of a promotion's graph as a flow run called `name`; the outcome of each by its id."""
    return walk_as(graph, store, children, watcher, FlowRun(FLOW_NAME, name, _conclude_outcomes))


@flow(name=FLOW_NAME, flow_run_name="promote-{name}", task_runner=ONE_AT_A_TIME)
def promote(name: str, version: str | None = None, to: str | None = None, config: str | None = None) -> State:
    """The flow to serve and to schedule. `config` is a path on the worker."""
    children = Children(preload=WITH_REGISTRY)
    promotion = Promotion(name, version, to, Path(config) if config else None)
    try:
        return conclude(carry_out(promotion, partial(climb_whole, children), children, get_run_logger().info))
    finally:
        children.stop()


def conclude(end: Ended) -> State:
    """How the flow run ends; a gate's no is no failure of it."""
    show_verdict(end)
    if end.rejected:
        return Completed(name="Rejected", message=end.said)
    return Failed(message=end.said) if end.ending.exit_code else Completed(message=end.said)


def show_verdict(end: Ended) -> None:
    """Leave the gates' words in Prefect's own page of the flow run."""
    if end.verdict:
        create_markdown_artifact(_markdown(end), key="verdict")


def _conclude_outcomes(outcomes: Mapping[str, Outcome]) -> State:
    return conclude(ended(outcomes))


def _markdown(end: Ended) -> str:
    lines = ["| gate | | reason |", "|---|---|---|"]
    for gate in end.verdict["gates"]:
        lines.append(f"| {gate['gate']} | {'passed' if gate['passed'] else 'refused'} | {gate['reason']} |")
    return "\n".join(lines)
