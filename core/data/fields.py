"""What tasks ask of the fields of a row: text that is there, labels that can be told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import RowFault
from .numbers import LARGEST, vector_in

KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    str: "text",
}


class MissingField(RowFault):
    """The row has nothing by the name of a field that its task needs."""


def required_text(fields: Mapping[str, Any], name: str) -> str:
    """The text of a field, as it stands. Raises RowFault where there is none."""
    value = required(fields, name)
    if not isinstance(value, str):
        raise RowFault(f"{name} is {kind_of(value)}, expected text")
    return require_words(value, name)


def required_label(fields: Mapping[str, Any], name: str) -> str:
    """The label in a field, without spaces around it; whole numbers and true/false become text."""
    value = required(fields, name)
    if not isinstance(value, str | int):
        raise RowFault(f"{name} is {kind_of(value)}, expected text or a whole number")
    return require_words(str(value), name).strip()


def required_number(fields: Mapping[str, Any], name: str) -> float:
    """The number in a field, which may stand there as text. Raises RowFault where there is none."""
    value = required(fields, name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowFault(f"{name} is {kind_of(value)}, expected a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise RowFault(f"{name} is {str(value)[:50]!r}, expected a number") from None
    if not abs(number) <= LARGEST:
        raise RowFault(f"{name} is {number:g}, expected a number between -{LARGEST:g} and {LARGEST:g}")
    return number


def required_vector(fields: Mapping[str, Any], name: str) -> list[float]:
    """The list of numbers in a field, which may stand there as JSON. Raises RowFault where there is none."""
    value = required(fields, name)
    vector = vector_in(value if isinstance(value, str) else json.dumps(value, default=str))
    if not vector:
        raise RowFault(f"{name} is {str(value)[:50]!r}, expected a list of numbers, such as [0, 5.5, 13]")
    return vector


def required(fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field. Raises RowFault where it is null, MissingField where there is none."""
    if name not in fields:
        raise MissingField(f"{name} is missing")
    if fields[name] is None:
        raise RowFault(f"{name} is null")
    return fields[name]


def require_words(value: str, name: str) -> str:
    """`value` itself. Raises RowFault where nothing but space is in it."""
    if not value.strip():
        raise RowFault(f"{name} is empty")
    return value


def kind_of(value: Any) -> str:
    """What a user would call a value read from JSON."""
    return "null" if value is None else KINDS.get(type(value), type(value).__name__)


def paragraphs(*parts: str) -> str:
    """The parts that have words, a blank line between them."""
    return "\n\n".join(part for part in parts if part.strip())
