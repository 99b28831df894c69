"""`stepladder curve`: how far each rung gets with how many training rows, and where the best changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.console import Console

Engine = Literal["prefect", "inline"]
RUNS = Path("runs")


def curve(
    config: Annotated[Path, typer.Argument(help="the YAML file of the runs")],
    rows: Annotated[str, typer.Option(help="numbers of training rows, increasing: 0,10,50,400")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
    engine: Annotated[Engine, typer.Option(help="who walks the graphs")] = "prefect",
    runs: Annotated[Path, typer.Option(help="folder of all runs; finished steps are found there")] = RUNS,
) -> None:
    """Run the ladder on nested parts of the training rows, and name where another rung becomes the best."""
    from ...core.training.children import WITH_REGISTRY, Children
    from ..curve import Drawing, draw_curve, parse_rows
    from ..planning import Request
    from ..table import make_console
    from ..watch import ConsoleWatcher

    numbers = parse_rows(rows)
    console, children = make_console(), Children(preload=WITH_REGISTRY)
    try:
        drawing = Drawing(engine, children, ConsoleWatcher(console), console.out)
        drawn = draw_curve(Request(config, tuple(overrides or ()), runs), numbers, drawing)
    finally:
        children.stop()
    _show(console, drawn)


def _show(console: Console, drawn: Mapping[str, Any]) -> None:
    from rich.text import Text

    from ...core.report.console import make_table
    from ...core.report.curve import headers, summary, table, verdicts

    judged = drawn["validation_rows"]
    for split in ("validation", "test"):
        last = verdicts(drawn) if split == "validation" else []
        title = f"{drawn['metric']} on the {split} rows" + (f" ({judged:,})" if last else "")
        console.print(Text(f"\n{title}", style="bold"))
        console.print(make_table(headers(drawn), [*table(drawn, split), *last]))
    for line in ["", *summary(drawn), f"Curve folder: {drawn['folder']}"]:
        console.print(Text(line), soft_wrap=True)
