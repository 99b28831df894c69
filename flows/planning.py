"""From a config file to a planned run: by a child, since plugins may import anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError, did_you_mean
from ..core.report.folder import CONFIG, write_config, write_graph
from ..core.steps.graph import Graph
from ..core.steps.store import Store
from ..core.training.children import Children
from .prefect_secrets import lend
from .single import do_step

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for. `runs` is the folder of all runs, `resumes` that of the one to go on with."""

    config: Path
    overrides: tuple[str, ...] = ()
    runs: Path = Path("runs")
    resumes: Path | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that can start. `run` has name, fingerprint, run_dir, data_sha256 and origins."""

    graph: Graph
    run: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def run_dir(self) -> Path:
        return Path(self.run["run_dir"])

    @property
    def store(self) -> Store:
        return Store(self.run_dir.parent / "steps")


def plan(request: Request, children: Children, log: Log, *, announce: bool) -> Planned:
    """Plan the run; with `announce` its plugins hear that it starts. Leaves nothing on disk.

    The Prefect secrets that it names are lent to all children from then on.
    Raises InputError where the config or what it names is wrong.
    """
    spec = {
        "config": str(request.config.absolute()),
        "overrides": list(request.overrides),
        "runs": str(request.runs.absolute()),
        "announce": announce,
        "resumes": str(request.resumes) if request.resumes else None,
    }
    result = do_step("plan", spec, log, children)
    lend(result["secrets"], children)
    return Planned(Graph.from_json(result["graph"]), result["run"], result["config"])


def open_run_folder(planned: Planned) -> None:
    """Make the run's folder with its config, from which `--resume` plans again, and its graph."""
    planned.run_dir.mkdir(parents=True, exist_ok=True)
    if not (planned.run_dir / CONFIG).exists():
        write_config(planned.run_dir, planned.config, planned.run)
    write_graph(planned.run_dir, planned.graph.to_json())


def resumed(run: str, runs: Path, overrides: tuple[str, ...] = ()) -> Request:
    """The request that a run, named or given by its folder, was started with. Raises InputError."""
    folder = find_run("--resume", run, runs)
    return Request(folder / CONFIG, overrides, runs=folder.parent, resumes=folder)


def find_run(asked_by: str, run: str, runs: Path) -> Path:
    """The folder of a run that is named or given by its folder. Raises InputError."""
    folder = next((each for each in (Path(run), runs / run) if (each / CONFIG).is_file()), None)
    if folder is None:
        known = sorted(path.parent.name for path in runs.glob(f"*/{CONFIG}"))
        raise InputError(
            f"{asked_by} {run}: no such run in {runs}{did_you_mean(run, known)}; "
            f"there are: {', '.join(known) or 'none'}"
        )
    return folder.absolute()
