"""`stepladder run`: the whole ladder on one config, from the rows to the table and the registered model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ...core.steps.execute import Outcome
    from ..planning import Planned, Request

Engine = Literal["prefect", "inline"]
RUNS = Path("runs")


def run(
    config: Annotated[Path | None, typer.Argument(help="the run's YAML file")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
    engine: Annotated[Engine, typer.Option(help="who walks the graph")] = "prefect",
    runs: Annotated[Path, typer.Option(help="folder of all runs; finished steps are found there")] = RUNS,
    resume: Annotated[str | None, typer.Option(help="go on with this run: its folder or name")] = None,
) -> None:
    """Fit and judge every candidate, choose the lowest rung that is good enough, and register it."""
    from ...core.steps.ending import ending
    from ...core.training.children import Children
    from ..engines import walk
    from ..events import announce_registered
    from ..planning import open_run_folder, plan
    from ..single import as_error
    from ..table import make_console
    from ..watch import ConsoleWatcher

    console, children = make_console(), Children()
    request = _request(config, tuple(overrides or ()), runs, resume)
    try:
        planned = plan(request, children, console.out, announce=True)
        open_run_folder(planned)
        console.out(f"{planned.run_dir.name}: {len(planned.graph.nodes)} steps")
        outcomes = walk(engine, planned, children, ConsoleWatcher(console))
    finally:
        children.stop()
    announce_registered(outcomes, console.out)
    _show(console, planned, outcomes)
    end = ending(outcomes)
    if end.exit_code:
        raise as_error(end.exit_code, f"{end.message}\n{_what_is_left(planned)}", end.traceback)


def _request(config: Path | None, overrides: tuple[str, ...], runs: Path, resume: str | None) -> Request:
    """Raises InputError unless there is a folder for runs, and one of a config and a run to resume."""
    from ...core.errors import InputError
    from ..planning import Request, resumed

    if resume and config:
        raise InputError(
            "run: expected either CONFIG or --resume RUN, found both; a run has its config with it"
        )
    if runs.exists() and not runs.is_dir():
        raise InputError(f"run: --runs: expected a folder, found the file {runs}: name another")
    if resume:
        return resumed(resume, runs, overrides)
    if config is None:
        raise InputError("run: expected CONFIG or --resume RUN; `stepladder run --help` shows both")
    return Request(config, overrides, runs)


def _show(console: Console, planned: Planned, outcomes: dict[str, Outcome]) -> None:
    """The table and the choice, from what the run left in its folder."""
    import json

    from ...core.report.console import show_run
    from ...core.report.folder import RESULT

    if outcomes["report"].done and outcomes["compare"].done:
        result = json.loads((planned.run_dir / RESULT).read_text())
        show_run(console, result, outcomes["compare"].result)


def _what_is_left(planned: Planned) -> str:
    quarantine = planned.run_dir / "quarantine.jsonl"
    some = quarantine.exists() and quarantine.stat().st_size
    rows = f"Rows that were left out, with reasons: {quarantine}\n" if some else ""
    return f"{rows}Logs: {planned.run_dir / 'logs'}"
