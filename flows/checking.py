"""Everything that can be wrong with a run before it starts.

The rows are read by the run's own step, in a folder that is thrown away; no weights are loaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..core.config import Resolved, load_config
from ..core.errors import ConfigError
from ..core.model.locate import base_fault
from ..core.steps import read

Accounts = Mapping[str, Mapping[str, int]]


def check_config(
    path: Path, overrides: Sequence[str], say: Callable[[str], None]
) -> tuple[Resolved, Accounts]:
    """The config with all its settings, and the account of each split's rows.

    `say` is told how rows are read where that is a guess. Raises ConfigError for the config and its base,
    DataError for the rows.
    """
    resolved = load_config(path, list(overrides))
    base = resolved.config.base
    fault = base_fault(base, resolved.folder) if base else None
    if fault:
        raise ConfigError(str(path), [f"base: {fault}"])
    spec = {"config": resolved.config.model_dump(mode="json"), "base": None, "needs": {}}
    with tempfile.TemporaryDirectory(prefix="stepladder-check-") as folder:
        return resolved, read.read_rows(spec, Path(folder), say)["data"]
