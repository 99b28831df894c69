"""From the list of methods to drafts of candidates: one value for each setting, all checked and filled in.

A list for a setting whose type is no list stands for one candidate each.
"""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from ..discovery import Registry
from ..errors import PluginError
from ..method import Method, WordedSettings
from .decoders import DecoderCheck
from .faults import Fault, show, validate
from .places import absolute
from .reading import missing_file
from .tuning import TUNE, read_tune

MOST_CANDIDATES = 256
METHODS = "methods"


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of `methods`, or of another list of names with settings, well-formed."""

    name: str
    settings: dict[str, Any]
    section: str = METHODS

    @property
    def place(self) -> str:
        return f"{self.section}.{self.name}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate without its id. `given` are the settings that the user wrote, in that order.

    `rung` is that of the method, or of the one that it hands on to where that is higher,
    `tune` says which settings are searched, and is None where none are.
    """

    method: type[Method]
    settings: BaseModel
    resolved: dict[str, Any]
    given: tuple[str, ...]
    rung: float
    tune: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Drafting:
    """What drafts are made with: relative paths in settings are relative to `folder`."""

    registry: Registry
    task: str | None
    folder: Path

    def drafts(self, entries: Sequence[Entry]) -> tuple[list[Draft], list[Fault]]:
        """One draft for every combination of settings."""
        drafts: list[Draft] = []
        faults: list[Fault] = []
        for entry in entries:
            try:
                method = self.registry.method(entry.name)
            except PluginError as error:
                faults.append(Fault(entry.section, str(error)))
                continue
            able = self.registry.tasks_of(method)
            if self.task is not None and self.task not in able:
                faults.append(self._other_task(entry, able, self.task))
            made, wrong = self._vary(entry, method)
            drafts += made
            faults += wrong
        return drafts, list(dict.fromkeys(faults))

    def _other_task(self, entry: Entry, able: Sequence[str], task: str) -> Fault:
        others = [
            name for name, other in self.registry.methods.items() if task in self.registry.tasks_of(other)
        ]
        return Fault(
            entry.place,
            f"does not do the task {task!r}, only {', '.join(able) or 'none that is installed'}; "
            f"methods that do: {', '.join(others) or 'none'}",
        )

    def _vary(self, entry: Entry, method: type[Method]) -> tuple[list[Draft], list[Fault]]:
        swept = _swept(entry, method)
        empty = [Fault(f"{entry.place}.{key}", "expected at least one value, found []") for key in swept]
        empty = [fault for fault, values in zip(empty, swept.values(), strict=True) if not values]
        number = math.prod(map(len, swept.values()))
        if empty or number > MOST_CANDIDATES:
            many = Fault(entry.place, f"stands for {number} candidates: at most {MOST_CANDIDATES} can be")
            return [], empty or [many]
        drafts, faults = [], []
        for values in itertools.product(*swept.values()):
            draft, wrong = self._draft(entry, method, dict(zip(swept, values, strict=True)))
            drafts += [draft] if draft else []
            faults += wrong
        return drafts, faults

    def _draft(
        self, entry: Entry, method: type[Method], values: Mapping[str, Any]
    ) -> tuple[Draft | None, list[Fault]]:
        given = {key: value for key, value in entry.settings.items() if key != TUNE}
        settings, faults = validate(method.Settings, {**given, **values}, entry.place, (TUNE,))
        tune, wrong = None, list[Fault]()
        if TUNE in entry.settings:
            tune, wrong = read_tune(entry.settings[TUNE], method, settings, f"{entry.place}.{TUNE}")
        if settings is None or wrong:
            return None, [*faults, *wrong]
        resolved = settings.model_dump(mode="json")
        paths = {key: value for key, value in settings if isinstance(value, Path)}
        resolved |= {key: str(absolute(self.folder, str(value))) for key, value in paths.items()}
        if isinstance(settings, WordedSettings):
            place = f"{entry.place}.decoder"
            check = DecoderCheck(self.registry, self.folder)
            resolved["decoder"], faults = check.complete(place, resolved["decoder"])
        faults = [*faults, *_missing(entry, paths, resolved)]
        rung, wrong = self._hand_on(entry, method, resolved)
        faults += wrong
        return None if faults else Draft(method, settings, resolved, tuple(given), rung, tune), faults

    def _hand_on(
        self, entry: Entry, method: type[Method], resolved: dict[str, Any]
    ) -> tuple[float, list[Fault]]:
        """The candidate's rung; in `resolved` the method that it hands on to gets all its settings."""
        key = method.hands_on_to
        if key is None:
            return method.rung, []
        section = f"{entry.place}.{key}"
        entries, faults = read_entries([resolved[key]], section)
        drafts, wrong = self.drafts(entries)
        faults += wrong
        if len(drafts) > 1:
            text = f"expected one value for each setting, found values for {len(drafts)} candidates"
            return method.rung, [*faults, Fault(section, text)]
        for draft in drafts:
            resolved[key] = {draft.method.name: draft.resolved}
            if draft.method.searches or draft.tune or draft.method.needs(draft.settings):
                text = f"{draft.method.name} searches, or builds on candidates: it can only be one itself"
                faults.append(Fault(section, text))
        return max([method.rung, *(draft.rung for draft in drafts)]), faults


def _missing(entry: Entry, paths: Iterable[str], resolved: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of settings that name a file where there is none."""
    for key in paths:
        if not Path(resolved[key]).exists():
            yield Fault(f"{entry.place}.{key}", missing_file(Path(resolved[key])))


def read_entries(
    values: Any, section: str = METHODS, what: str = "method"
) -> tuple[list[Entry], list[Fault]]:
    """The items of a list of names with settings; those of a wrong form are faults."""
    if not isinstance(values, list) or not values:
        return [], [Fault(section, f"expected a list of {what}s, found {show(values)}")]
    read = [_read_entry(number, value, section, what) for number, value in enumerate(values, start=1)]
    return [e for e in read if isinstance(e, Entry)], [f for f in read if isinstance(f, Fault)]


def _read_entry(number: int, value: Any, section: str, what: str) -> Entry | Fault:
    place = f"{section}, item {number}"
    if isinstance(value, str):
        return Entry(value, {}, section)
    if not isinstance(value, dict) or not value:
        return Fault(place, f"expected a {what}'s name or {{name: settings}}, found {show(value)}")
    if len(value) > 1:
        name, *others = value
        hint = f"indent {', '.join(others)} below {name}" if value[name] is None else "give each its own '- '"
        return Fault(place, f"expected one {what}, found {', '.join(value)}: {hint}")
    ((name, settings),) = value.items()
    if not isinstance(settings, dict | None):
        return Fault(f"{section}.{name}", f"expected a mapping of settings, found {show(settings)}")
    return Entry(name, settings or {}, section)


def _swept(entry: Entry, method: type[Method]) -> dict[str, list[Any]]:
    fields = method.Settings.model_fields
    return {
        key: value
        for key, value in entry.settings.items()
        if isinstance(value, list) and key in fields and not holds_lists(fields[key].annotation)
    }


def holds_lists(annotation: Any) -> bool:
    """Whether a setting of this type can itself be a list."""
    origin = get_origin(annotation) or annotation
    if origin in (Union, types.UnionType, Annotated):
        return any(map(holds_lists, get_args(annotation)))
    if not isinstance(origin, type):
        return annotation is Any
    return issubclass(origin, Sequence | set | frozenset) and not issubclass(origin, str | bytes)
