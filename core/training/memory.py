"""Out of memory: the rows of one backward pass are halved, and the same step is done again.

The batch stays what it was, since each part's loss is divided by the trained tokens of the whole batch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..errors import OutOfMemory
from ..types import Encoded
from . import together
from .limits import is_out_of_memory

T = TypeVar("T")
Log = Callable[[str], None]


@dataclass
class MicroBatch:
    """The rows of one backward pass; once halved they stay so."""

    size: int
    log: Log = lambda _: None
    halvings: int = 0
    in_shards: bool = False

    def fit(self, attempt: Callable[[int], T], rows: Sequence[Encoded]) -> T:
        """What `attempt` returns for the size, or for the first half of it that there is memory for.

        Where one of several processes has too little, all try again, unless the base is in shards: then the
        others are in the middle of an exchange. Raises OutOfMemory then, and where one row is too much.
        """
        while True:
            done = _attempted(attempt, self.size)
            if done is None and self.in_shards:
                raise OutOfMemory(f"out of memory: lower micro_batch_size (now {self.size} rows a process)")
            if not together.anywhere(done is None):
                assert done is not None, "nobody was short of memory"
                return done[0]
            del done
            self._halve(rows)

    def _halve(self, rows: Sequence[Encoded]) -> None:
        free_memory()
        most = together.largest_share(len(rows))
        size = min(self.size, most)
        if size == 1 and (self.halvings or most == 1):
            longest = max(len(row.tokens) for row in rows)
            raise OutOfMemory(
                f"out of memory at one row a backward pass (the longest here has {longest} tokens): lower "
                "max_length, set gradient_checkpointing, or take a smaller base"
            )
        self.size, self.halvings = max(1, size // 2), self.halvings + 1
        self.log(
            f"out of memory at {size} rows a backward pass: {self.size} from here on, the batch as before"
        )

    @property
    def at_once(self) -> int | None:
        """Rows to read at once where no more than memory limits them; None is all."""
        return self.size if self.halvings else None


def _attempted(attempt: Callable[[int], T], size: int) -> tuple[T] | None:
    """None for want of memory. What the error holds is let go of with it, before anything is tried again."""
    try:
        return (attempt(size),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def free_memory() -> None:
    """Give back what is held for nobody."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
