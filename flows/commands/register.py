"""`stepladder register`: the last steps of a run once more, when MLflow could not be had at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ...core.steps.graph import Graph

RUNS = Path("runs")


def register(
    run: Annotated[str, typer.Argument(help="the run: its folder or name")],
    name: Annotated[str | None, typer.Option("--as", help="the registered model, over the config's")] = None,
    runs: Annotated[Path, typer.Option(help="folder of all runs")] = RUNS,
) -> None:
    """Record and register what a run has chosen, from what it left on disk. Nothing is fitted or planned."""
    from ...core.steps.ending import ending
    from ...core.steps.last import found
    from ...core.steps.store import Store
    from ...core.training.children import WITH_REGISTRY, Children
    from ..events import announce_registered
    from ..inline import walk
    from ..planning import find_run
    from ..single import as_error
    from ..table import make_console
    from ..watch import ConsoleWatcher

    run_dir = find_run("register", run, runs)
    graph, store = _graph(run_dir, name), Store(run_dir.parent / "steps")
    done, console, children = found(graph, store), make_console(), Children(preload=WITH_REGISTRY)
    try:
        outcomes = walk(graph, store, children, ConsoleWatcher(console), done)
    finally:
        children.stop()
    announce_registered(outcomes, console.out)
    end = ending(outcomes)
    if end.exit_code:
        raise as_error(end.exit_code, end.message, end.traceback)
    _show(console, run_dir)
    if "register" not in outcomes:
        again = f"`stepladder register {run_dir} --as NAME` registers the chosen candidate"
        console.out(f"Recorded, not registered: the config has no `register:`; {again}", highlight=False)


def _graph(run_dir: Path, name: str | None) -> Graph:
    """The run's graph. With a name it registers under that from now on. Raises InputError."""
    from ...core.config.schema import NAME
    from ...core.errors import InputError
    from ...core.report.folder import write_graph
    from ...core.steps.last import read_graph, registered_as

    graph = read_graph(run_dir)
    if name is None:
        return graph
    if not NAME.fullmatch(name):
        raise InputError(f"register --as {name!r}: expected letters, digits, '-', '_' and '.', at most 100")
    graph = registered_as(graph, name)
    write_graph(run_dir, graph.to_json())  # so that a second try needs no name
    return graph


def _show(console: Console, run_dir: Path) -> None:
    import json

    from ...core.report.console import show_run
    from ...core.report.folder import RESULT

    show_run(console, json.loads((run_dir / RESULT).read_text()), None)
