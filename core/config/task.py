"""Whether a config fits its task: the metric, the columns, and the templates that write its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from ..discovery import Registry
from ..errors import PluginError, did_you_mean
from ..method import FAMILY, Task
from .drafts import Draft
from .faults import Fault, unknown

TEMPLATES = ("prompt", "response")


def find_task(name: Any, registry: Registry) -> tuple[type[Task] | None, list[Fault]]:
    if not isinstance(name, str):
        return None, []
    try:
        return registry.task(name), []
    except PluginError as error:
        return None, [Fault("task", str(error))]


def check_task(values: Mapping[str, Any], task: type[Task], registry: Registry) -> Iterator[Fault]:
    data, choose = values.get("data"), values.get("choose")
    if isinstance(choose, dict) and isinstance(choose.get("metric"), str):
        yield from _metric_faults(choose["metric"], task, registry)
    if isinstance(data, dict):
        columns = data.get("columns")
        yield from _field_faults(data, columns if isinstance(columns, dict) else {}, task)
        if task.answering in ("likelihood", "sample") and data.get("instruction"):
            yield Fault("data.instruction", f"the task {task.name!r} asks nothing: leave it out")


def check_family(values: Mapping[str, Any], drafts: Iterable[Draft]) -> Iterator[Fault]:
    """Of methods that learn from several tasks, where no column says which row is of which."""
    data = values.get("data")
    columns = data.get("columns") if isinstance(data, dict) else None
    if isinstance(columns, dict) and FAMILY in columns:
        return
    for name in dict.fromkeys(draft.method.name for draft in drafts if draft.method.needs_tasks):
        yield Fault(
            f"methods.{name}",
            "learns from several tasks of one family, and no column says which row is of which: "
            f"expected `{FAMILY}: COLUMN` under data.columns",
        )


def check_templates(data: Any) -> Iterator[Fault]:
    for key in TEMPLATES:
        if isinstance(data, dict) and isinstance(data.get(key), str):
            try:
                SandboxedEnvironment().parse(data[key])
            except TemplateSyntaxError as error:
                yield Fault(f"data.{key}", f"line {error.lineno} of the template: {error.message}")


def _metric_faults(metric: str, task: type[Task], registry: Registry) -> Iterator[Fault]:
    has = f"the task {task.name!r} has {', '.join(task.metrics)}"
    if metric in task.metrics:
        return
    if metric in registry.metrics:
        yield Fault("choose.metric", f"{metric!r} is no metric of this task: {has}")
    else:
        yield Fault("choose.metric", f"no metric {metric!r}{did_you_mean(metric, task.metrics)}: {has}")


def _field_faults(data: Mapping[str, Any], columns: Mapping[str, Any], task: type[Task]) -> Iterator[Fault]:
    for field in columns:
        if field not in (*task.columns, FAMILY):
            what = f"field of the task {task.name!r}"
            yield Fault(f"data.columns.{field}", unknown(what, field, task.columns))
    for key, field in zip_longest(TEMPLATES, list(task.columns)[: len(TEMPLATES)]):
        if data.get(key) is None:
            continue
        if field is None:
            reads = ", ".join(task.columns)
            yield Fault(f"data.{key}", f"the task {task.name!r} has no field for it: it reads {reads}")
        elif field in columns:
            yield Fault(f"data.{key}", f"data.columns.{field} gives the same field: keep one of them")
