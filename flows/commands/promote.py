"""`stepladder promote`: the challenger becomes the champion if every gate says yes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

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
    from ...core.training.children import WITH_REGISTRY, Children
    from ..engines import walk_promotion
    from ..promotion import Promotion, carry_out
    from ..showing import show_promotion
    from ..single import as_error
    from ..table import make_console
    from ..watch import ConsoleWatcher

    console, children = make_console(), Children(preload=WITH_REGISTRY)
    promotion = Promotion(name, version, to, config)
    flow_run = f"promote-{promotion.target}"
    walk = partial(walk_promotion, engine, children, ConsoleWatcher(console), flow_run)
    try:
        end = carry_out(promotion, walk, children, console.out)
    finally:
        children.stop()
    show_promotion(console, end)
    if end.ending.exit_code:
        raise as_error(end.ending.exit_code, end.ending.message, end.ending.traceback)
