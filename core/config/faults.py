"""What is wrong with a config, in words: where, what was expected, what was found, the nearest name."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..errors import did_you_mean

SHOWN = 60

EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "path_type": "a file name",
    "string_type": "text",
    "tuple_type": "a list",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, at a dotted place such as `data.limit.train`."""

    place: str
    text: str


def validate(
    model: type[BaseModel], values: Any, place: str = "", beside: Sequence[str] = ()
) -> tuple[Any, list[Fault]]:
    """An instance of `model` and no faults, or None and all of them.

    `beside` are keys that may stand beside those of `model` and are read elsewhere: they are told too.

    Nothing is converted: text is no number, a number is no text. JSON has no tuples and no paths, so it is
    as JSON that lists and texts may become them.
    """
    try:
        return model.model_validate_json(json.dumps(values), strict=True), []
    except ValidationError as error:
        return None, _faults(model, values, place, beside, error)
    except Exception as error:  # a plugin's own validator
        return None, [Fault(place, f"its plugin's own check fails: {type(error).__name__}: {error}")]


def show(value: Any) -> str:
    """A found value, bounded."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def unknown(what: str, name: str, valid: Iterable[str]) -> str:
    """`unknown key (did you mean 'x'?)`, or all valid names where none is near."""
    names = sorted(valid)
    known = f": expected one of {', '.join(names)}" if names else ""
    return f"unknown {what}{did_you_mean(name, names) or known}"


def _faults(
    model: type[BaseModel], values: Any, place: str, beside: Sequence[str], error: ValidationError
) -> list[Fault]:
    """One fault a place: the branches of a union, all tried in vain, are told as one."""
    expected: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    faults = []
    for each in error.errors(include_url=False):
        keys, value = _locate(values, each["loc"])
        where = ".".join([*filter(None, [place]), *map(str, keys)])
        if each["type"] == "extra_forbidden":
            valid = [*_fields_at(model, keys[:-1]), *(beside if len(keys) == 1 else ())]
            faults.append(Fault(where, unknown("key", str(keys[-1]), valid)))
        elif each["type"] == "missing":
            faults.append(Fault(f"{where}.{each['loc'][-1]}".lstrip("."), "missing"))
        else:
            expected.setdefault(where, []).append(_expected(each["type"], each["msg"], each.get("ctx", {})))
            found[where] = value
    for where, texts in expected.items():
        first, *others = dict.fromkeys(texts)
        either = " or ".join([first, *(text.removeprefix("expected ") for text in others)])
        faults.append(Fault(where, f"{either}, found {show(found[where])}"))
    return faults


def _locate(values: Any, location: Sequence[str | int]) -> tuple[list[str | int], Any]:
    """The part of pydantic's location that is in the input, and what lies there.

    The rest names branches of unions and the like.
    """
    keys: list[str | int] = []
    for part in location:
        if isinstance(values, Mapping) and part in values:
            values = values[str(part)]
        elif isinstance(values, list) and isinstance(part, int):
            values = values[part]
        else:
            continue
        keys.append(part)
    return keys, values


def _expected(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in EXPECTED:
        numbers = {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}
        return f"expected {EXPECTED[kind].format(**numbers)}"
    return message[:1].lower() + message[1:]


def _fields_at(model: type[BaseModel], keys: Iterable[str | int]) -> list[str]:
    """Names of the fields of the model that lies at `keys` below `model`."""
    for key in keys:
        by_name = {_name(name, field.alias): field for name, field in model.model_fields.items()}
        inner = _model_in(by_name[str(key)].annotation) if str(key) in by_name else None
        if inner is None:
            return []
        model = inner
    return [_name(name, field.alias) for name, field in model.model_fields.items()]


def _name(name: str, alias: str | None) -> str:
    return alias or name


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None
