"""Checks what a plugin's hooks return against the contract, so that a fault is told at discovery by name.

Without it a class that lacks an attribute would fail in the middle of a run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from .. import types
from ..decoder import Decoder, Scorer
from ..errors import did_you_mean
from ..gate import Gate
from ..method import Adapted, Answering, Method, Settings, Task
from ..metric import Metric
from ..source import Source

SNAKE_CASE = re.compile(r"[a-z][a-z0-9_]*")
SUFFIX = re.compile(r"(\.[a-z0-9_-]+)+")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A class attribute that the contract asks for."""

    expected: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a hook returns classes of."""

    base: type[Any]
    attributes: Mapping[str, Attribute]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and SNAKE_CASE.fullmatch(value) is not None


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_name, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_columns(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(name, str) for name in value)


def _are_suffixes(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(s, str) and SUFFIX.fullmatch(s) for s in value)


def _are_file_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) and name for name in value)


def _is_scheme(value: Any) -> bool:
    return isinstance(value, str) and (not value or SNAKE_CASE.fullmatch(value) is not None)


def _is_adapted(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Adapted)


def _are_settings(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Settings)


NAME = Attribute("a name of small letters, digits and _", _is_name)
NAMES = Attribute("a tuple of names", _are_names)
TEXT = Attribute("text", lambda value: isinstance(value, str) and bool(value))
SETTINGS = Attribute("a subclass of stepladder.core.method.Settings", _are_settings)
WAYS = get_args(Answering)
BASES = get_args(types.BaseKind)
ANSWERING = Attribute(f"one of {', '.join(WAYS)}", lambda value: value in WAYS)
ANSWERS = Attribute(
    f"a tuple of some of {', '.join(WAYS)}", lambda value: _are_names(value) and set(value) <= set(WAYS)
)

KINDS: Mapping[str, Kind] = {
    "method": Kind(
        Method,
        {
            "name": NAME,
            "rung": Attribute("a number", _is_number),
            "summary": TEXT,
            "answers": ANSWERS,
            "adapted": Attribute("a subclass of stepladder.core.method.Adapted", _is_adapted),
            "bases": Attribute(
                f"a tuple of some of {', '.join(BASES)}",
                lambda value: _are_names(value) and set(value) <= set(BASES),
            ),
            "needs_tasks": Attribute("True or False", lambda value: isinstance(value, bool)),
            "Settings": SETTINGS,
        },
    ),
    "task": Kind(
        Task,
        {
            "name": NAME,
            "summary": TEXT,
            "columns": Attribute("a mapping of column names", _are_columns),
            "answering": ANSWERING,
            "metrics": NAMES,
            "chooses_by": NAME,
        },
    ),
    "source": Kind(
        Source,
        {
            "name": NAME,
            "suffixes": Attribute("a tuple such as ('.jsonl',)", _are_suffixes),
            "folders": Attribute("a tuple of names of files", _are_file_names),
            "scheme": Attribute("small letters and digits, or nothing", _is_scheme),
        },
    ),
    "metric": Kind(Metric, {"name": NAME}),
    "decoder": Kind(Decoder, {"name": NAME, "Settings": SETTINGS}),
    "scorer": Kind(Scorer, {"name": NAME}),
    "gate": Kind(Gate, {"name": NAME, "Settings": SETTINGS}),
}


def class_faults(kind: str, returned: Any) -> list[str]:
    """Why `returned` is not a sequence of classes of this kind; empty where it is."""
    hook = f"stepladder_{kind}s"
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        return [f"{hook} must return a list of classes, but returned {returned!r:.80}"]
    return [f"{hook}: {fault}" for each in returned for fault in _faults(kind, each)]


def _faults(kind: str, cls: Any) -> Iterator[str]:
    base = KINDS[kind].base
    if not (isinstance(cls, type) and issubclass(cls, base)):
        yield f"expected subclasses of {base.__module__}.{base.__name__}, found {cls!r:.80}"
        return
    for name, attribute in KINDS[kind].attributes.items():
        if not hasattr(cls, name):
            near = did_you_mean(name, vars(cls))
            yield f"{cls.__name__} lacks `{name}`, {attribute.expected}{near}"
        elif not attribute.fits(getattr(cls, name)):
            found = getattr(cls, name)
            yield f"{cls.__name__}.{name} must be {attribute.expected}, but is {found!r:.80}"
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        yield f"{cls.__name__} does not implement {missing}"
