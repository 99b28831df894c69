"""`stepladder plan`: the steps of a run in order, and which of them are done already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...core.steps.graph import Node
    from ...core.steps.store import Store

RUNS = Path("runs")
NEEDS_SHOWN = 4


def plan(
    config: Annotated[Path, typer.Argument(help="the run's YAML file")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
    runs: Annotated[Path, typer.Option(help="folder of all runs; finished steps are found there")] = RUNS,
) -> None:
    """Show what a run would do. Nothing is fitted and nothing is written."""
    from ...core.training.children import Children
    from ..planning import Request
    from ..planning import plan as make_plan
    from ..table import print_table

    children = Children()
    try:
        request = Request(config, tuple(overrides or ()), runs)
        planned = make_plan(request, children, typer.echo, announce=False)
    finally:
        children.stop()
    typer.echo(f"{planned.run_dir.name}: {len(planned.graph.nodes)} steps")
    lines = [(n.id, n.fingerprint[:12], _state(n, planned.store), _needs(n)) for n in planned.graph.nodes]
    print_table(("step", "fingerprint", "", "needs"), lines)


def _needs(node: Node) -> str:
    """In short where a step needs a part of every candidate."""
    shown = " ".join(node.needs[:NEEDS_SHOWN])
    more = len(node.needs) - NEEDS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _state(node: Node, store: Store) -> str:
    from ...core.manifest import is_whole

    done = node.reusable and is_whole(store.place(node.kind, node.fingerprint).final)
    return "reused" if done else "to do"
