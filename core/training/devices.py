"""Slots of this machine's devices: a step that holds a model has a device to itself, whichever run it is of.

A slot is a file lock, which the kernel takes back when its holder ends, however it does. Where there is no
device there is no slot, and nobody waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..environment import home
from ..errors import StepError
from ..files import first_free

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


@contextmanager
def device_for(
    kind: str, waiting: Callable[[], None], stopped: Callable[[], bool]
) -> Iterator[Mapping[str, str]]:
    """What a step of that kind must have in its environment to see the device that is its own meanwhile.

    `waiting` is called once if all are taken. Raises StepError if `stopped` before one is free.
    """
    names = devices() if kind in ON_A_DEVICE else []
    if not names:
        yield {}
        return
    slots = {home() / "locks" / f"device-{name}": name for name in names}
    with first_free(list(slots), waiting, stopped) as taken:
        if taken is None:
            raise StepError(f"{kind}: not started, since the run has been stopped")
        yield {VISIBLE: slots[taken]}
