"""`stepladder refresh`: what a nightly schedule does, by hand: train on what is new, compare, promote."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ...core.steps.execute import Outcome
    from ..planning import Planned
    from ..refreshing import Refreshed

Engine = Literal["prefect", "inline"]
RUNS = Path("runs")


def refresh(
    config: Annotated[Path, typer.Argument(help="the run's YAML file")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
    engine: Annotated[Engine, typer.Option(help="who walks the steps")] = "prefect",
    runs: Annotated[Path, typer.Option(help="folder of all runs; finished steps are found there")] = RUNS,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="ask the gates for what is registered")
    ] = True,
) -> None:
    """Run the ladder if rows or config are new, and promote its choice; exit with 3 if a gate says no."""
    from ...core.training.children import WITH_REGISTRY, Children
    from ..engines import walk, walk_promotion
    from ..planning import Request
    from ..refreshing import Refresh
    from ..refreshing import refresh as carry_out
    from ..table import make_console
    from ..watch import ConsoleWatcher

    console, children = make_console(), Children(preload=WITH_REGISTRY)
    watcher = ConsoleWatcher(console)
    asked = Refresh(Request(config, tuple(overrides or ()), runs), promote)

    def run(planned: Planned) -> dict[str, Outcome]:
        console.out(f"{planned.run_dir.name}: {len(planned.graph.nodes)} steps")
        return walk(engine, planned, children, watcher)

    promotion = partial(walk_promotion, engine, children, watcher, f"promote-after-{config.stem}")
    try:
        refreshed = carry_out(asked, run, promotion, children, console.out)
    finally:
        children.stop()
    _show(console, refreshed)


def _show(console: Console, refreshed: Refreshed) -> None:
    """What is new, or why nothing is. Raises the error that the refresh ended with."""
    from ..showing import show_promotion, show_run_folder, what_is_left
    from ..single import as_error

    if refreshed.unchanged:
        console.out(refreshed.message)
        return
    show_run_folder(console, refreshed.planned, refreshed.outcomes)
    end = refreshed.ending
    if refreshed.promotion:
        show_promotion(console, refreshed.promotion)
    if end.exit_code:
        left = "" if refreshed.promotion else f"\n{what_is_left(refreshed.planned)}"
        raise as_error(end.exit_code, f"{end.message}{left}", end.traceback)
