"""Slots of this machine's devices: a step that holds a model has a device to itself, whichever run it is of.

A slot is a file lock, which the kernel takes back when its holder ends, however it does. Where there is no
device there is no slot, and nobody waits. Who wants several takes one after the other, and nobody else does
meanwhile: two who each held half of what they want would wait for ever.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..environment import home
from ..errors import StepError
from ..files import first_free
from .torchrun import led

DEVICES = "STEPLADDER_DEVICES"
VISIBLE = "CUDA_VISIBLE_DEVICES"
# The kinds of steps that load a model onto a device, or make one there.
ON_A_DEVICE = (
    *("retention", "replay", "fit", "merge", "evaluate", "register"),
    *("rescore", "promote", "evaluate_model", "prove_export", "verify"),
)


def devices() -> list[str]:
    """By CUDA's names: those of STEPLADDER_DEVICES, else of CUDA_VISIBLE_DEVICES, else all that there are.

    Either variable may be empty: then there are none.
    """
    for name in (DEVICES, VISIBLE):
        if name in os.environ:
            named = (each.strip() for each in os.environ[name].split(","))
            return [each for each in named if each not in ("", "-1")]
    number = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return [str(place) for place in range(number)]


def wanted(kind: str, spec: Mapping[str, Any]) -> int:
    """How many devices a step has use for: a fit so many as the config says, any other one.

    Of a fit that other processes of torchrun's take part in, each has its own.
    """
    return int(spec.get("config", {}).get("devices", 1)) if kind == "fit" and not led() else 1


@contextmanager
def device_for(
    kind: str, waiting: Callable[[], None], stopped: Callable[[], bool], number: int = 1
) -> Iterator[Mapping[str, str]]:
    """What a step of that kind must have in its environment to see the devices that are its own meanwhile.

    `waiting` is called if too few are free. Raises StepError if `stopped` before enough are, or if there are
    not so many at all.
    """
    names = devices() if kind in ON_A_DEVICE else []
    if names and number > len(names):
        raise StepError(
            f"{kind}: `devices: {number}` asks for more devices than this machine has: found {len(names)} "
            f"({', '.join(names)}): lower devices, or set {DEVICES}"
        )
    locks, machine = home() / "locks", _machine()
    slots = {locks / f"device-{machine}-{name}": name for name in names}
    turn: AbstractContextManager[Any] = nullcontext()
    if slots and number > 1:
        turn = first_free([locks / f"several-devices-{machine}"], waiting, stopped)
    with ExitStack() as held:
        taken: list[Path] = []
        with turn:
            while slots and len(taken) < number:
                free = [slot for slot in slots if slot not in taken]
                taken.append(_take(held, free, kind, waiting, stopped))
        yield {VISIBLE: ",".join(slots[each] for each in taken)} if taken else {}


def _machine() -> str:
    """This one until it is started anew, from all its containers alike: several may share a home."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text()[:8] if boot.is_file() else socket.gethostname()


def _take(
    held: ExitStack,
    locks: Sequence[Path],
    kind: str,
    waiting: Callable[[], None],
    stopped: Callable[[], bool],
) -> Path:
    """Hold one of them until `held` ends."""
    taken = held.enter_context(first_free(locks, waiting, stopped))
    if taken is None:
        raise StepError(f"{kind}: not started, since the run has been stopped")
    return taken
