"""`stepladder run` as several processes of torchrun: the first one does the run, the others follow it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..core.errors import InputError, StepladderError
from ..core.training.children import WITH_REGISTRY, Children
from ..core.training.devices import DEVICES, devices
from ..core.training.torchrun import LEADS, Torchrun, torchrun
from .single import do_step

LOOK_SECONDS = 0.5


def one_of_several(cluster: str | None) -> Torchrun | None:
    """This process, where torchrun has started several that train together; it then ends with torchrun.

    Raises InputError where there are too few devices for those on this machine, or a cluster beside them.
    """
    at = torchrun()
    if at is None or at.of == 1:
        return None
    if cluster:
        raise InputError(
            "run: --cluster: its workers take no part in what torchrun starts: expected only one"
        )
    names = devices()
    if names and at.here > len(names):
        raise InputError(
            f"torchrun: --nproc-per-node {at.here}: this machine has {len(names)} "
            f"{'device' if len(names) == 1 else 'devices'} ({', '.join(names)}): lower it, or set {DEVICES}"
        )
    _end_with_torchrun()
    return at


def follow(at: Torchrun, runs: Path) -> None:
    """Take part in the fits of the first process's run; exits as that does."""
    name = f"stepladder: process {at.rank + 1} of {at.of}"
    print(f"{name}, on {socket.gethostname()}, follows the first one's run", flush=True)  # noqa: T201
    ended = do_step("follow", {"runs": str(runs.absolute())}, lambda _: None)
    print(f"{name}: the run is over", flush=True)  # noqa: T201
    sys.exit(ended["exit_code"])


@contextlib.contextmanager
def leading(at: Torchrun | None) -> Iterator[None]:
    """Around a run that other processes of torchrun follow, if there are any; they end as it does."""
    if at is None:
        yield
        return
    children, token, exit_code = Children(preload=WITH_REGISTRY), uuid4().hex, 1
    os.environ[LEADS] = token
    with tempfile.TemporaryDirectory(prefix="stepladder-lead-") as folder:
        over = Path(folder) / "over"
        thread = threading.Thread(target=_lead, args=(children, {"token": token, "over": str(over)}))
        thread.start()
        try:
            yield
            exit_code = 0
        except StepladderError as error:
            exit_code = error.exit_code
            raise
        finally:
            # Those that follow end now, and torchrun ends whoever is left: why is yet to be said.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _write_whole(over, str(exit_code))
            thread.join()
            children.stop()
            del os.environ[LEADS]


def require_devices(config: Mapping[str, Any]) -> None:
    """Raises InputError where the config asks for another number of processes than torchrun has started."""
    at = torchrun()
    if at and config["devices"] not in (1, at.of):
        raise InputError(
            f"devices: {config['devices']}: torchrun has started {at.of} processes, which train each "
            f"candidate together: expected no devices, or devices: {at.of}"
        )


def require_run(command: str) -> None:
    """Raises InputError where torchrun has started another command: each process would do all of it."""
    at = torchrun()
    if at and at.of > 1 and command != "run":
        raise InputError(
            f"{command}: torchrun has started it {at.of} times: expected `stepladder run`, or no torchrun"
        )


def _lead(children: Children, spec: Mapping[str, Any]) -> None:
    """Where the others cannot be told, a fit that wants them says so."""
    with contextlib.suppress(StepladderError):
        do_step("lead", spec, lambda _: None, children)


def _write_whole(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def _end_with_torchrun() -> None:
    """By SIGTERM, which torchrun sends too, and by which all that was begun is left tidily."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
