"""Candidates over a cluster: what needs a model is done by Dask's workers, several nodes at a time.

Folders alone go to a worker and come back, so all machines see the folder of the runs at the same path. Each
worker starts children as this process does. What belongs to the whole run is done here, where the registry
is. The graph is walked here too: a node is sent when all that it needs has ended. When the process that walks
it ends, however that is, nobody waits for its tasks any more, and the workers end what they do for it.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture

from ..core.errors import InputError, StepError
from ..core.steps.execute import Outcome, execute, is_blocked, read_outcome
from ..core.steps.graph import Graph, Node
from ..core.steps.store import Store
from ..core.training.children import Children
from .prefect_engine import Outcomes, StepFailed, task_of
from .prefect_home import require_server
from .watch import Silence, Watcher

ON_WORKERS = ("retention", "replay", "fit", "merge", "evaluate")
EXTRA = "prefect_dask"
# The states of a task that a worker is doing and that somebody waits for; one that was given up has others.
WANTED = ("executing", "long-running")
SECONDS_BETWEEN_LOOKS = 0.5


def require_cluster() -> None:
    """Raises InputError where a run cannot be spread at all, StepError where Prefect's server is silent."""
    _require_extra()
    require_server("run: --cluster: workers tell Prefect of their tasks, which")


def runner_on(address: str) -> Any:
    """The task runner that sends tasks to the scheduler at this address; InputError without the extra."""
    _require_extra()
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(address=address)


def _require_extra() -> None:
    if importlib.util.find_spec(EXTRA) is None:
        raise InputError("--cluster: needs prefect-dask: pip install 'stepladder[dask]'")


@dataclass(frozen=True, slots=True)
class AtWorker:
    """Does a node where a worker runs: with children of its own, of the same kinds as here."""

    store: Path
    kinds: str
    preload: tuple[str, ...]

    def __call__(self, node: Node, folders: dict[str, Path | None], log: Callable[[str], None]) -> Outcome:
        children = Children(self.kinds, self.preload)
        try:
            with _stopped_when_unwanted(children):
                return execute(node, folders, Store(self.store), children, log)
        finally:
            children.stop()


@contextmanager
def _stopped_when_unwanted(children: Children) -> Iterator[None]:
    """At a worker: end the children as soon as nobody waits for the task that this thread is doing."""
    from distributed import get_worker

    worker = get_worker()
    key, done = worker.get_current_task(), threading.Event()

    def look() -> None:
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            task = worker.state.tasks.get(key)
            if task is None or task.state not in WANTED:
                children.stop()
                return

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@dataclass
class Spread:
    """A graph under way in the body of a flow, over the cluster at `address`; `outcomes` is filled."""

    address: str
    graph: Graph
    store: Store
    children: Children
    watcher: Watcher
    outcomes: Outcomes

    def climb(self) -> None:
        with runner_on(self.address) as runner:
            self._climb(runner)

    def _climb(self, runner: Any) -> None:
        running: dict[str, PrefectFuture[Any]] = {}
        left = {node.id: node for node in self.graph.nodes}
        while left or running:
            for node in self._ready(left):
                del left[node.id]
                if node.kind in ON_WORKERS and not is_blocked(node, self.outcomes):
                    running[node.id] = self._send(node, runner)
                else:
                    self._do_here(node)
            for node_id in _ended(running):
                self._take(node_id, running.pop(node_id))

    def __reduce__(self) -> tuple[Callable[[], Spread], tuple[()]]:
        """With each task the worker is sent its flow too, and this with it, of which it needs nothing."""
        return _elsewhere, ()

    def _ready(self, left: Mapping[str, Node]) -> list[Node]:
        return [node for node in left.values() if all(each in self.outcomes for each in node.needs)]

    def _folders(self, node: Node) -> dict[str, str | None]:
        folders = {each: self.outcomes[each].folder for each in node.needs}
        return {each: str(folder.absolute()) if folder else None for each, folder in folders.items()}

    def _send(self, node: Node, runner: Any) -> PrefectFuture[Any]:
        self.watcher.started(node)
        children = self.children
        at_worker = AtWorker(self.store.folder.absolute(), children.kinds, children.preload)
        sent: PrefectFuture[Any] = runner.submit(
            task_of(node, at_worker, Silence()), {"needs": self._folders(node)}
        )
        return sent

    def _do_here(self, node: Node) -> None:
        def do(node: Node, folders: dict[str, Path | None], log: Callable[[str], None]) -> Outcome:
            if not is_blocked(node, self.outcomes):
                self.watcher.started(node)
            self.outcomes[node.id] = execute(node, folders, self.store, self.children, log)
            return self.outcomes[node.id]

        state: Any = task_of(node, do, self.watcher)(self._folders(node), return_state=True)
        if node.id not in self.outcomes:
            raise StepError(f"{node.title}: Prefect did not do it: {state.message}")
        self.watcher.ended(node, self.outcomes[node.id])

    def _take(self, node_id: str, future: PrefectFuture[Any]) -> None:
        (node,) = (each for each in self.graph.nodes if each.id == node_id)
        self.outcomes[node_id] = _outcome(node, future)
        self.watcher.ended(node, self.outcomes[node_id])


def _elsewhere() -> Spread:
    return Spread("", Graph(()), Store(Path()), Children(), Silence(), {})


def _ended(running: Mapping[str, PrefectFuture[Any]]) -> list[str]:
    """The one that ends first, as soon as it has; none where nothing runs."""
    from distributed import as_completed

    sent: dict[Any, str] = {future.wrapped_future: at for at, future in running.items()}  # type: ignore[attr-defined]
    loop = next((future.client.loop for future in sent), None)
    return [sent[next(as_completed(list(sent), loop=loop))]] if sent else []


def _outcome(node: Node, future: PrefectFuture[Any]) -> Outcome:
    try:
        value = future.result(raise_on_failure=False)
    except Exception as error:  # of Dask: a worker that is gone, or that lacks our code
        raise StepError(
            f"{node.title}: the cluster gave no answer: {type(error).__name__}: {error}"
        ) from error
    if isinstance(value, StepFailed) and value.folder:
        return read_outcome(value.folder)
    if isinstance(value, BaseException):
        raise StepError(f"{node.title}: failed at its worker: {type(value).__name__}: {value}") from value
    return read_outcome(Path(value), "reused" if future.state.name == "Reused" else "ok")
