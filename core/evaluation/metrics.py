"""Which metrics judge the candidates of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..discovery import Registry
from ..metric import Metric


def metrics_of(config: Mapping[str, Any], registry: Registry) -> dict[str, Metric]:
    """By name: the metric that chooses, then the task's others. Raises PluginError where one is gone."""
    task = registry.task(config["task"])
    chooses = config["choose"].get("metric") or task.chooses_by
    return {name: registry.metric(name)() for name in dict.fromkeys([chooses, *task.metrics])}
