"""From the columns of a row to the fields of a task.

Either the config names every field, by `columns` and by the templates `prompt` (the task's first
field) and `response` (its second), or it names none: then each is read from the column of its own name,
or as the form of the rows says. Rows of any task may have another column, `columns.task`, which says to
which of several tasks of one family they belong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ..errors import ConfigError, DataError, RowFault, did_you_mean
from ..method import FAMILY, Task
from ..source import SourceRow
from ..types import Example
from .fields import MissingField, required_label
from .forms import Form, recognise
from .templates import Template, UnknownColumn

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """Reads one row for a task: which column or template gives which field."""

    task: Task
    named: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, Template] = field(default_factory=dict)
    slices: Sequence[str] = ()
    family: str | None = None
    form: Form | None = None

    @classmethod
    def of(cls, task: Task, data: Mapping[str, Any]) -> Self:
        """From the config's `data`. Raises ConfigError for fields that the task does not have."""
        named = dict(data.get("columns") or {})
        family = named.pop(FAMILY, None) if FAMILY not in task.columns else None
        unknown = [name for name in named if name not in task.columns]
        if unknown:
            has = f"task {task.name} has the fields {', '.join(task.columns)}"
            faults = [f"no field {name!r}{did_you_mean(name, task.columns)}; {has}" for name in unknown]
            raise ConfigError("data.columns", faults)
        return cls(task, named, _templates(task, data, named), tuple(data.get("slices") or ()), family)

    def fitted(self, head: Sequence[SourceRow]) -> Self:
        """The same, or, where the config names no field, by the form in which the first rows are."""
        if self.named or self.templates:
            return self
        return replace(self, form=recognise(self.task, _names(head)))

    def read(self, row: SourceRow) -> Example:
        """The row as its task reads it, without an id. Raises RowFault."""
        if row.fault is not None:
            raise RowFault(row.fault)
        example = self.task.example("", self._fields(row.fields))
        return replace(example, slices=self._slices(row.fields), task=self._task(row.fields))

    def check(self, place: str, head: Sequence[SourceRow]) -> None:
        """Raises DataError where not one of the first rows has what the config or the task asks for.

        A column that only some rows lack is their own fault.
        """
        rows = [row for row in head if row.fault is None]
        faults = [self._fault(row) for row in rows]
        there = _names(rows)
        if rows:
            self._require_others(place, there)
        if not rows or None in faults:
            return
        self._require_columns(place, there)
        if isinstance(faults[0], UnknownColumn | MissingField):
            raise DataError(self._unreadable(place, faults[0], there))

    def _fields(self, row: Row) -> dict[str, Any]:
        if self.form:
            return self.form.fields(row)
        written = {name: template.render(row) for name, template in self.templates.items()}
        if not self.named and not self.templates:
            return {name: row[name] for name in self.task.columns if name in row}
        for column in self.named.values():
            if column not in row:
                raise UnknownColumn(f"no column {column!r}; the row has {', '.join(row) or 'none'}")
        return {name: row[column] for name, column in self.named.items()} | written

    def _slices(self, row: Row) -> dict[str, str]:
        """A row that says nothing in one of the columns lies in the slice of no name."""
        return {name: "" if row.get(name) is None else str(row[name]) for name in self.slices}

    def _task(self, row: Row) -> str:
        return required_label(row, self.family) if self.family else ""

    def _fault(self, row: SourceRow) -> RowFault | None:
        try:
            self.read(row)
        except RowFault as fault:
            return fault
        return None

    def _require_columns(self, place: str, there: Sequence[str]) -> None:
        unknown = [
            f"data.columns.{name}: no row has a column {column!r}{did_you_mean(column, there)}"
            for name, column in self.named.items()
            if column not in there
        ]
        if unknown:
            raise DataError(f"{place}: {'; '.join(unknown)}. The columns are {', '.join(there)}")

    def _require_others(self, place: str, there: Sequence[str]) -> None:
        """The columns that the task itself does not read."""
        others = [("data.slices", column) for column in self.slices]
        others += [(f"data.columns.{FAMILY}", self.family)] if self.family else []
        for key, column in others:
            if column not in there:
                raise DataError(
                    f"{place}: {key}: no row has a column {column!r}{did_you_mean(column, there)}. "
                    f"The columns are {', '.join(there)}"
                )

    def _unreadable(self, place: str, fault: RowFault | None, there: Sequence[str]) -> str:
        first, column = next(iter(self.task.columns)), there[0] if there else "text"
        return (
            f"{place}: task {self.task.name} can read none of the first rows: {fault}. "
            f"It reads the fields {', '.join(self.task.columns)}; the columns are {', '.join(there)}. "
            f"Say which column is which under data.columns, for example {{{first}: {column}}}"
        )


def _names(rows: Iterable[SourceRow]) -> list[str]:
    """The columns of all these rows."""
    return list(dict.fromkeys(name for row in rows for name in row.fields))


def _templates(task: Task, data: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, Template]:
    texts = {key: data[key] for key in ("prompt", "response") if data.get(key) is not None}
    fields = dict(zip(("prompt", "response"), task.columns, strict=False))
    without = [key for key in texts if key not in fields]
    twice = [key for key in texts if fields.get(key) in named]
    faults = [f"task {task.name} has no field that data.{key} could write" for key in without]
    faults += [f"data.{key} and data.columns both give {fields[key]}" for key in twice]
    if faults:
        raise ConfigError("data", faults)
    return {fields[key]: Template(f"data.{key}", text) for key, text in texts.items()}
