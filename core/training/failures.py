"""Why processes that train together have failed: each says so in the store in which they meet.

Where one ends the others fail for want of it; so they take numbers, and the first is the reason.
"""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from torch.distributed.distributed_c10d import Store

from ..errors import DiskFull, OutOfMemory, StepError, StepladderError

FAILURES = "failures"
LONGEST = 10_000
GONE = -1  # comes before all numbers


class ProcessFailed(StepError):
    """What one of several processes ended with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Message(BaseModel):
    """What lies in a store: JSON, of this form alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(Message):
    """Why one process failed. `trace` is that of an error which nobody has foreseen."""

    order: int
    message: str
    exit_code: int = 1
    kind: Literal["disk_full", "out_of_memory", "other"] = "other"
    trace: str = ""


M = TypeVar("M", bound=Message)


def read(store: Store, key: str, form: type[M]) -> M:
    """What lies there already. Raises StepError where it is something else."""
    try:
        return form.model_validate_json(store.get(key))
    except ValidationError as error:
        raise StepError(f"torchrun's store: {key}: expected what Stepladder writes, found {error}") from error


def tell(store: Store, rank: int, failure: Failure) -> None:
    """For all to see; of one process the first failure counts."""
    if not has_told(store, rank):
        cut = {"message": failure.message[:LONGEST], "trace": failure.trace[-LONGEST:]}
        store.set(_key(rank), failure.model_copy(update=cut).model_dump_json())
        store.add(FAILURES, 1)


def next_number(store: Store) -> int:
    return store.add("numbers", 1)


def gone(store: Store, rank: int, message: str) -> None:
    """Tell for a process that can no more, and for whose want the others fail."""
    tell(store, rank, Failure(order=GONE, message=message))


def any_failed(store: Store) -> bool:
    return store.add(FAILURES, 0) > 0


def has_told(store: Store, rank: int) -> bool:
    return store.check([_key(rank)])


def told(store: Store, of: int) -> dict[int, Failure]:
    """By rank, the reason of all first."""
    found = {rank: read(store, _key(rank), Failure) for rank in range(of) if has_told(store, rank)}
    return dict(sorted(found.items(), key=lambda each: each[1].order))


def reason(store: Store, of: int) -> StepladderError:
    """The error of the step: what the process that failed first has said."""
    said = list(told(store, of).values())
    if not said:
        return ProcessFailed(f"one of {of} processes ended without a word; its log may say why", 1)
    first = said[0]
    if first.kind == "other":
        return ProcessFailed(first.message, first.exit_code)
    return {"disk_full": DiskFull, "out_of_memory": OutOfMemory}[first.kind](first.message)


def _key(rank: int) -> str:
    return f"failure-{rank}"
