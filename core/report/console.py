"""A run on the console: the table, the choice, and where things are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..evaluation.table import headers, rows
from .page import next_commands


def show_run(console: Console, result: Mapping[str, Any], compared: Mapping[str, Any] | None) -> None:
    """Print result.json; `compared` is the result of the step that compared, None where there is none."""
    if compared:
        metric = compared["metric"]
        console.print(make_table(headers(metric), rows(compared["candidates"], compared["choice"], metric)))
        console.print()
    _show_errors(console, result["candidates"])
    choice, registered = result["choice"], result["registered"]
    console.print(Text(f"Chosen: {choice['id'] or 'nothing'}", style="bold"))
    console.print(Text(choice["reason"]), soft_wrap=True)
    if registered:
        where = f"models:/{registered['name']}@{registered['alias']}"
        console.print(Text(f"Registered: {where}, version {registered['version']}"))
    console.print(Text(f"Run folder: {result['run_dir']}"), soft_wrap=True)
    for command in next_commands(result):
        console.print(Text(f"Next: {command}"), soft_wrap=True)


def make_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> Table:
    """The cells as text, never as markup; all columns but the one that only the report has room for."""
    shown = [place for place, name in enumerate(head) if not name.startswith("against")]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in shown:
        table.add_column(Text(head[place].replace(" ", "\n", 1)))
    for row in body:
        table.add_row(*(Text(row[place]) for place in shown))
    return table


def _show_errors(console: Console, candidates: Sequence[Mapping[str, Any]]) -> None:
    for candidate in candidates:
        if candidate["error"]:
            console.print(
                Text(f"{candidate['id']} {candidate['status']}: {candidate['error']}"), soft_wrap=True
            )
