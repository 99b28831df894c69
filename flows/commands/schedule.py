"""`stepladder schedule`: a flow that this machine runs by the clock, told of to a Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Flow = Literal["refresh", "ladder"]
RUNS = Path("runs")
SHOWN = 3


def schedule(
    config: Annotated[Path, typer.Argument(help="the run's YAML file")],
    cron: Annotated[str, typer.Option(help="minute, hour, day, month, weekday: '0 3 * * *'")],
    timezone: Annotated[
        str | None, typer.Option(help="the time zone of --cron, such as Europe/Berlin")
    ] = None,
    flow: Annotated[Flow, typer.Option(help="refresh promotes too; ladder is a run alone")] = "refresh",
    name: Annotated[str | None, typer.Option(help="the deployment's name; default: the config's")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
    runs: Annotated[Path, typer.Option(help="folder of all runs; finished steps are found there")] = RUNS,
) -> None:
    """Check the config, then start its flow by the clock from this machine until the command is stopped."""
    from ..checking import check_config
    from ..prefect_home import make_home, require_server
    from ..refreshing import require_register
    from ..scheduling import Serving, parameters, require_times, serve

    make_home()
    times = require_times(cron, timezone)
    coming = times.next(SHOWN)
    require_server("schedule")
    resolved, _ = check_config(config, overrides or [], typer.echo)
    settings = resolved.config.model_dump(mode="json")
    if flow == "refresh":
        require_register(config, settings, "--flow ladder")
    typer.echo(f"{flow} of {config}, one at a time, at: {'; '.join(coming)}; and so on")
    given = parameters(config, tuple(overrides or ()), runs)
    serve(Serving(flow, name or settings["name"], times, given))
