"""The flow of a refresh, to be scheduled: it trains where rows or config are new, compares, and promotes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from ..core.training.children import WITH_REGISTRY, Children
from .ladder import show_table
from .planning import Planned, Request
from .prefect_engine import ONE_AT_A_TIME, Outcomes, climb_whole, name_flow_run
from .promote import show_verdict
from .refreshing import Refresh, Refreshed
from .refreshing import refresh as carry_out

FLOW_NAME = "stepladder-refresh"


@flow(name=FLOW_NAME, task_runner=ONE_AT_A_TIME)
def refresh(
    config: str, overrides: list[str] | None = None, runs: str = "runs", promote: bool = True
) -> State:
    """The flow to serve and to schedule. Paths are on the worker."""
    children = Children(preload=WITH_REGISTRY)
    asked = Refresh(Request(Path(config), tuple(overrides or ()), Path(runs)), promote)
    try:
        run, promotion = partial(_run, children), partial(climb_whole, children)
        return conclude(carry_out(asked, run, promotion, children, get_run_logger().info))
    finally:
        children.stop()


def _run(children: Children, planned: Planned) -> Outcomes:
    name_flow_run(planned.run_dir.name)
    outcomes = climb_whole(children, planned.graph, planned.store)
    show_table(outcomes)
    return outcomes


def conclude(refreshed: Refreshed) -> State:
    """Nothing new and a gate's no are no failures; each is a state of its own name."""
    if refreshed.unchanged:
        return Completed(name="Unchanged", message=refreshed.message)
    if refreshed.promotion:
        show_verdict(refreshed.promotion)
        if refreshed.promotion.rejected:
            return Completed(name="Rejected", message=refreshed.message)
    if refreshed.ending.exit_code:
        return Failed(message=refreshed.message)
    return Completed(message=refreshed.message)
