"""What a step may use: wall time, which the parent measures, and memory, which the kernel does.

Memory is RLIMIT_DATA of the child: what it can write to and shares with nobody. What goes beyond it fails
where it is asked for, so that the training loop can halve its micro-batches and an error can say what
happened; a watcher of resident memory could but kill. RLIMIT_AS would count addresses too that are only
reserved, of which the driver of an accelerator takes hundreds of gigabytes. Each process that a step starts
has the same limit for itself.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutOfMemory

GB = 1e9
STATUS = Path("/proc/self/status")
# torch has an error of its own for accelerators alone.
SAID = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one step; None is without limit. A GB is 1e9 bytes."""

    minutes: float | None = None
    memory_gb: float | None = None

    @property
    def seconds(self) -> float:
        return float("inf") if self.minutes is None else 60 * self.minutes

    def out_of_time(self, step: str, reached: str) -> str:
        """`reached` is the last line of the step's log."""
        return (
            f"{step}: not done within limits.minutes: {self.minutes:g}; it had come to: "
            f"{reached or 'nothing'}. Raise the limit and run again: a fit goes on from its last checkpoint"
        )

    def over_memory(self, step: str, held: int) -> str:
        """`held` is the most that it has held, in bytes."""
        return f"{step}: more than limits.memory_gb: {self.memory_gb:g} (it held {held / GB:.2f} GB at most)"


def hold_memory(memory_gb: float | None) -> None:
    """Give this process so much; what its libraries have reserved and do not use is not counted."""
    if memory_gb is None:
        return
    unused = _status("VmData") - _status("RssAnon")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = int(memory_gb * GB) + max(0, unused)
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard < 0 else min(soft, hard), hard))


def release_memory() -> None:
    """Take the limit off again, so that there is room to say what has happened."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Of Python, of torch on any device, or of a step that has said so itself."""
    if isinstance(error, MemoryError | OutOfMemory) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in SAID)


def _status(name: str) -> int:
    """A figure of this process in bytes; 0 where the system tells none."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
