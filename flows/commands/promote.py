"""`stepladder promote`: the challenger becomes the champion if every gate says yes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ...core.steps.execute import Outcome
    from ...core.steps.graph import Graph
    from ...core.steps.store import Store
    from ...core.training.children import Children
    from ..promotion import Ended

Engine = Literal["prefect", "inline"]


def promote(
    name: Annotated[str, typer.Argument(help="the registered model")],
    version: Annotated[
        str | None, typer.Option(help="this version instead of the one with the alias `challenger`")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="copy the version to this registered model and promote it there")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="take the gates of this file, not those of the version's own run")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="who walks the steps")] = "prefect",
) -> None:
    """Make the challenger the champion if every gate says yes; exit with 3 if one says no."""
    from ...core.training.children import Children
    from ..promotion import Promotion, carry_out
    from ..single import as_error
    from ..table import make_console

    console, children = make_console(), Children()
    promotion = Promotion(name, version, to, config)

    def walk(graph: Graph, store: Store) -> dict[str, Outcome]:
        return _walk(engine, graph, store, children, console, f"promote-{promotion.target}")

    try:
        end = carry_out(promotion, walk, children, console.out)
    finally:
        children.stop()
    _show(end)
    if end.ending.exit_code:
        raise as_error(end.ending.exit_code, end.ending.message, end.ending.traceback)


def _walk(
    engine: Engine, graph: Graph, store: Store, children: Children, console: Console, name: str
) -> dict[str, Outcome]:
    from ..watch import ConsoleWatcher

    watcher = ConsoleWatcher(console)
    if engine == "inline":
        from ..inline import walk

        return walk(graph, store, children, watcher)
    from ..prefect_home import quiet_prefect

    quiet_prefect()
    from ..promote import walk as walk_with_prefect

    return walk_with_prefect(graph, store, children, watcher, name)


def _show(end: Ended) -> None:
    """What each gate said, and who is champion now."""
    from ..table import print_table

    gates = end.verdict.get("gates", ())
    if gates:
        rows = [(each["gate"], "passed" if each["passed"] else "refused", each["reason"]) for each in gates]
        print_table(("gate", "", "reason"), rows)
    if end.promoted:
        told = end.promoted
        before = f"before: version {told['previous']}" if told["previous"] else "the first one"
        typer.echo(f"Promoted: models:/{told['name']}@champion is version {told['version']} ({before})")
    elif not end.ending.exit_code:
        told = end.challenger
        typer.echo(f"models:/{told['name']}@champion is version {told['challenger']['version']} already")
