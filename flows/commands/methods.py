"""`stepladder methods`: the rungs of the ladder."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def methods(as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False) -> None:
    """List all methods, the lowest rung first."""
    from ...core.discovery import listing
    from ..table import print_table

    lines = listing().methods
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    rows = [(f"{line.rung:g}", line.name, ", ".join(line.tasks), line.summary) for line in lines]
    print_table(("rung", "method", "tasks", "summary"), rows)
