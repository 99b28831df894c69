"""The last steps of a run once more: record, register and report, from what the others left on disk.

Neither the config nor the data is read again, and nothing is fitted: what to do stands in the run's graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..report.folder import GRAPH
from .execute import Outcome, look_up
from .graph import AFTER_THE_CHOICE, TO_REGISTER, Graph, Node
from .store import Store


def read_graph(run_dir: Path) -> Graph:
    """The graph of the run in that folder. Raises InputError where there is none."""
    try:
        graph = Graph.from_json(json.loads((run_dir / GRAPH).read_text()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{run_dir}: expected {GRAPH}, which a run leaves there, found none that can be read; "
            f"{_resume(run_dir)}"
        ) from error
    return graph.with_run({**_run(graph), "run_dir": str(run_dir)})


def registered_as(graph: Graph, name: str) -> Graph:
    """The same graph, whose last steps register the chosen candidate under that name."""
    *before, report = (_with_register(node, name) for node in graph.nodes if node.kind != "register")
    record = before[-1]
    assert (record.kind, report.kind) == ("record", "report"), "so every graph ends"
    register = replace(
        record, id="register", kind="register", title="register", needs=TO_REGISTER, tolerant=False
    )
    return Graph((*before, register, replace(report, needs=(*(node.id for node in before), "register"))))


def found(graph: Graph, store: Store) -> dict[str, Outcome]:
    """The outcome of each step up to the choice. Raises InputError unless all ended and a choice was made."""
    outcomes: dict[str, Outcome] = {}
    for node in graph.nodes:
        if node.kind not in AFTER_THE_CHOICE:
            outcomes[node.id] = _found(node, outcomes, graph, store)
    if not outcomes["compare"].done:
        raise _unfinished("compare", "was not done", graph)
    return outcomes


def _found(node: Node, outcomes: Mapping[str, Outcome], graph: Graph, store: Store) -> Outcome:
    folders = {needed: outcomes[needed].folder for needed in node.needs}
    outcome = look_up(node, folders, store)
    if outcome is None:
        raise _unfinished(node.title, f"has left nothing whole in {store.folder}", graph)
    return outcome


def _with_register(node: Node, name: str) -> Node:
    if node.kind not in AFTER_THE_CHOICE:
        return node
    return replace(node, spec={**node.spec, "config": {**node.spec["config"], "register": name}})


def _run(graph: Graph) -> Mapping[str, Any]:
    """What the last steps know of the run."""
    run: Mapping[str, Any] = graph.nodes[-1].spec["run"]
    return run


def _unfinished(step: str, why: str, graph: Graph) -> InputError:
    run_dir = _run(graph)["run_dir"]
    return InputError(
        f"{run_dir}: expected a run that has made its choice, but {step} {why}; {_resume(run_dir)}"
    )


def _resume(run_dir: Path | str) -> str:
    return f"`stepladder run --resume {run_dir}` goes on with it"
