"""`stepladder evaluate`: a fitted model on the test rows of any config of its task. Nothing is fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RUNS = Path("runs")


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="models:/NAME@alias, models:/NAME/VERSION, or a candidate's artifact folder"),
    ],
    config: Annotated[Path, typer.Argument(help="the YAML file whose test rows are answered")],
    runs: Annotated[Path, typer.Option(help="folder of all runs; the result goes below it")] = RUNS,
) -> None:
    """Answer a config's test rows with a registered version or a candidate, and show the metrics."""
    from ...core.training.children import WITH_REGISTRY, Children
    from ..evaluating import HEADERS, evaluate_model, figures, summary
    from ..table import print_table

    children = Children(preload=WITH_REGISTRY)
    try:
        evaluated = evaluate_model(model, config, runs, typer.echo, children)
    finally:
        children.stop()
    typer.echo(summary(evaluated))
    typer.echo()
    print_table(HEADERS, figures(evaluated))
    typer.echo()
    typer.echo(f"Result folder: {evaluated['folder']}")
