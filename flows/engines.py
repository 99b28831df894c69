"""Who walks a run's graph, by the engine's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..core.errors import InputError
from .inline import walk as walk_inline

if TYPE_CHECKING:
    from ..core.steps.execute import Outcome
    from ..core.steps.graph import Graph
    from ..core.steps.store import Store
    from ..core.training.children import Children
    from .planning import Planned
    from .watch import Watcher

Engine = Literal["prefect", "inline"]


def walk(
    engine: Engine, planned: Planned, children: Children, watcher: Watcher, cluster: str | None = None
) -> dict[str, Outcome]:
    """Do every node of the planned run, over a cluster where one is named; the outcome of each by its id."""
    if engine == "inline":
        return walk_inline(planned.graph, planned.store, children, watcher)
    from .prefect_home import quiet_prefect

    quiet_prefect()
    from .ladder import walk as walk_with_prefect

    name = planned.run_dir.name
    return walk_with_prefect(planned.graph, planned.store, children, watcher, name, cluster)


def check_cluster(engine: Engine, cluster: str | None) -> None:
    """Raises InputError where a cluster is asked for that cannot be used."""
    if cluster is None:
        return
    if engine == "inline":
        raise InputError("run: --cluster: the engine inline does all here: expected --engine prefect")
    from .prefect_home import quiet_prefect

    quiet_prefect()
    from .cluster import require_cluster

    require_cluster()


def walk_promotion(
    engine: Engine, children: Children, watcher: Watcher, name: str, graph: Graph, store: Store
) -> dict[str, Outcome]:
    """Do every step of a promotion, which Prefect knows by `name`; the outcome of each by its id."""
    if engine == "inline":
        return walk_inline(graph, store, children, watcher)
    from .prefect_home import quiet_prefect

    quiet_prefect()
    from .promote import walk as walk_with_prefect

    return walk_with_prefect(graph, store, children, watcher, name)
