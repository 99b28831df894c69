"""The engine without an orchestrator: one node after the other, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..core.steps.execute import Outcome, execute, is_blocked
from ..core.steps.graph import Graph
from ..core.steps.store import Store
from ..core.training.children import Children
from .watch import Watcher


def walk(
    graph: Graph,
    store: Store,
    children: Children,
    watcher: Watcher,
    done: Mapping[str, Outcome] | None = None,
) -> dict[str, Outcome]:
    """Do every node of the graph but those of `done`; the outcome of each by its id."""
    outcomes = dict(done or {})
    for node in graph.nodes:
        if node.id in outcomes:
            continue
        if not is_blocked(node, outcomes):
            watcher.started(node)
        folders = {needed: outcomes[needed].folder for needed in node.needs}
        outcomes[node.id] = execute(node, folders, store, children, partial(watcher.line, node))
        watcher.ended(node, outcomes[node.id])
    return outcomes
