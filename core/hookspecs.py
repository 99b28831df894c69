"""All hooks of Stepladder. A plugin implements any of them with `hookimpl`.

Plugins of other packages are modules named by the entry-point group `stepladder.plugins`; they set
`STEPLADDER_API = 1` so that a plugin written for another contract is refused, not half-run.
Import heavy libraries in the plugin's own module, never in `stepladder.core.hookspecs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .decoder import Decoder, Scorer
    from .gate import Gate
    from .method import Method, Task
    from .metric import Metric
    from .source import Source

PROJECT = "stepladder"
ENTRY_POINT_GROUP = "stepladder.plugins"
API_VERSION = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def stepladder_methods() -> Sequence[type[Method]]:
    """Called at discovery. Return the method classes of this plugin."""
    raise NotImplementedError


@hookspec
def stepladder_tasks() -> Sequence[type[Task]]:
    """Called at discovery. Return the task classes of this plugin."""
    raise NotImplementedError


@hookspec
def stepladder_sources() -> Sequence[type[Source]]:
    """Called at discovery. Return the classes that read rows from a kind of file or place."""
    raise NotImplementedError


@hookspec
def stepladder_metrics() -> Sequence[type[Metric]]:
    """Called at discovery. Return the metric classes of this plugin."""
    raise NotImplementedError


@hookspec
def stepladder_decoders() -> Sequence[type[Decoder]]:
    """Called at discovery. Return the decoder classes, each a way to write an answer."""
    raise NotImplementedError


@hookspec
def stepladder_scorers() -> Sequence[type[Scorer]]:
    """Called at discovery. Return the scorer classes, each a judge of a written answer."""
    raise NotImplementedError


@hookspec
def stepladder_gates() -> Sequence[type[Gate]]:
    """Called at discovery. Return the gate classes that a promotion may be asked to pass."""
    raise NotImplementedError


@hookspec
def stepladder_run_started(run: Mapping[str, Any]) -> None:
    """Called once, after the plan is made and before its first step. `run`: name, fingerprint, run_dir."""


@hookspec
def stepladder_candidate_finished(run: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
    """Called once a candidate, with its entry of result.json, whether it is ok or failed."""


@hookspec
def stepladder_registered(run: Mapping[str, Any], registered: Mapping[str, Any]) -> None:
    """Called after the chosen candidate is a model version. `registered`: name, version, alias."""


@hookspec
def stepladder_promoted(promotion: Mapping[str, Any]) -> None:
    """Called after a version became the champion. `promotion`: name, version, previous (or None)."""
    raise NotImplementedError


@hookspec
def stepladder_rejected(promotion: Mapping[str, Any]) -> None:
    """Called after the gates said no. `promotion`: name, version, previous (the champion still), reason."""
    raise NotImplementedError


@hookspec
def stepladder_rolled_back(promotion: Mapping[str, Any]) -> None:
    """Called after an earlier champion is back. `promotion`: name, version, previous (who was champion)."""
