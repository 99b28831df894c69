"""One step by itself, outside any graph: what a command asks of a child whose result is all that counts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import GateError, InputError, StepError, StepladderError
from ..core.training.children import Children

Log = Callable[[str], None]


def do_step(kind: str, spec: Mapping[str, Any], log: Log, children: Children | None = None) -> dict[str, Any]:
    """The result of the step, done in a child in a folder that is gone afterwards.

    Raises what the step raised, by its exit code: InputError, GateError, or StepError for all else.
    """
    own = children or Children()
    folder = Path(tempfile.mkdtemp(prefix=f"stepladder-{kind}-"))
    try:
        ended = own.run(kind, spec, folder, log)
    finally:
        shutil.rmtree(folder)
        if children is None:
            own.stop()
    if ended.failure:
        raise as_error(ended.failure.exit_code, ended.failure.message, ended.failure.traceback)
    assert ended.result is not None, "a child has a result or a failure"
    return ended.result


def as_error(exit_code: int, message: str, traceback: str) -> StepladderError:
    """A child's error, as if it had been raised here, with its own traceback beside this process's."""
    kinds = {kind.exit_code: kind for kind in (InputError, GateError)}
    error = kinds.get(exit_code, StepError)(message)
    if traceback:
        error.add_note(f"In the child process:\n{traceback}")
    return error
