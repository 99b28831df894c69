"""`stepladder run`: the whole ladder on one config, from the rows to the table and the registered model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ..planning import Request

Engine = Literal["prefect", "inline"]
RUNS = Path("runs")


def run(
    config: Annotated[Path | None, typer.Argument(help="the run's YAML file")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
    engine: Annotated[Engine, typer.Option(help="who walks the graph")] = "prefect",
    runs: Annotated[Path, typer.Option(help="folder of all runs; finished steps are found there")] = RUNS,
    resume: Annotated[str | None, typer.Option(help="go on with this run: its folder or name")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="spread candidates over this Dask cluster, such as tcp://host:8786")
    ] = None,
) -> None:
    """Fit and judge every candidate, choose the lowest rung that is good enough, and register it."""
    from ..torchrun import follow, leading, one_of_several

    request = _request(config, tuple(overrides or ()), runs, resume)
    at = one_of_several(cluster)
    if at and at.rank:
        follow(at, request.runs)
    with leading(at):
        _climb(request, engine, cluster)


def _climb(request: Request, engine: Engine, cluster: str | None) -> None:
    from ...core.steps.ending import ending
    from ...core.training.children import WITH_REGISTRY, Children
    from ..engines import check_cluster, walk
    from ..events import announce_registered
    from ..planning import open_run_folder, plan
    from ..showing import show_run_folder, what_is_left
    from ..single import as_error
    from ..table import make_console
    from ..torchrun import require_devices
    from ..watch import ConsoleWatcher

    check_cluster(engine, cluster)
    console, children = make_console(), Children(preload=WITH_REGISTRY)
    try:
        planned = plan(request, children, console.out, announce=True)
        require_devices(planned.config)
        open_run_folder(planned)
        console.out(f"{planned.run_dir.name}: {len(planned.graph.nodes)} steps")
        outcomes = walk(engine, planned, children, ConsoleWatcher(console), cluster)
    finally:
        children.stop()
    announce_registered(outcomes, console.out)
    show_run_folder(console, planned, outcomes)
    end = ending(outcomes)
    if end.exit_code:
        raise as_error(end.exit_code, f"{end.message}\n{what_is_left(planned)}", end.traceback)


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
