"""The YAML file and the `--set` flags, as plain JSON values, before anything is known of their meaning."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, did_you_mean
from ..types import Origin
from .faults import Fault, show
from .reading import parse_yaml, read_text


@dataclass(frozen=True, slots=True)
class Flag:
    """One `--set a.b=value`."""

    text: str
    keys: tuple[str, ...]
    value: Any


@dataclass(frozen=True)
class Document:
    """A config file with its flags applied. `values` is JSON, and is nobody else's."""

    path: Path
    values: dict[str, Any]
    flags: tuple[Flag, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.absolute().parent

    def flag_of(self, place: str) -> Flag | None:
        """The flag that set what lies at this dotted place."""
        for flag in reversed(self.flags):
            key = ".".join(flag.keys)
            if place == key or place.startswith(f"{key}."):
                return flag
        return None

    def origin(self, place: str, given: bool) -> Origin:
        """Where the value at `place` is from, if it was `given` at all."""
        if not given:
            return "default"
        return "flag" if self.flag_of(place) else "file"


def read_document(path: Path, overrides: Sequence[str]) -> Document:
    """Read the file and apply the flags. Raises ConfigError if there is no mapping in it to check."""
    values = parse_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        found = "nothing" if values is None else show(values)
        raise ConfigError(str(path), [f"expected keys such as name, task, data, methods; found {found}"])
    flags, faults = [], []
    for text in overrides:
        flag = _parse_flag(text)
        fault = _apply(values, flag) if isinstance(flag, Flag) else flag
        if fault:
            faults.append(fault)
        elif isinstance(flag, Flag):
            flags.append(flag)
    return Document(path, values, tuple(flags), tuple(faults))


def _parse_flag(text: str) -> Flag | Fault:
    key, equals, value = text.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    if not equals or not all(keys):
        return Fault(f"--set {text}", "expected key=value, such as data.max_bad=0.2")
    try:
        return Flag(text, keys, parse_yaml(value, key))
    except ConfigError as error:
        return Fault(f"--set {text}", "; ".join(error.faults))


def _apply(values: dict[str, Any], flag: Flag) -> Fault | None:
    """Write the flag's value into `values`; a method's settings are addressed by the method's name."""
    first, *rest = flag.keys
    if first == "methods" and rest:
        reason = _set_method(values.get("methods"), rest[0], rest[1:], flag.value)
    else:
        reason = _put(values, flag.keys, flag.value)
    return Fault(f"--set {flag.text}", reason) if reason else None


def _set_method(entries: Any, name: str, keys: Sequence[str], value: Any) -> str | None:
    """Set it in every entry of that method."""
    listed = entries if isinstance(entries, list) else []
    names = [_names(entry) for entry in listed]
    if not any(name in each for each in names):
        return f"the file lists no method {name!r}{did_you_mean(name, itertools.chain(*names))}"
    for at in (at for at, each in enumerate(names) if name in each):
        if isinstance(listed[at], str):
            listed[at] = {name: {}}
        reason = _put(listed[at], [name, *keys], copy.deepcopy(value))
        if reason:
            return reason
    return None


def _names(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return list(entry) if isinstance(entry, dict) else []


def _put(values: dict[str, Any], keys: Sequence[str], value: Any) -> str | None:
    for depth, key in enumerate(keys[:-1], start=1):
        inner = values.setdefault(key, {})
        if inner is None:
            inner = values[key] = {}
        if not isinstance(inner, dict):
            return f"{'.'.join(keys[:depth])} has no keys: it is {show(inner)}"
        values = inner
    values[keys[-1]] = value
    return None
