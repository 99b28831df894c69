"""Numbers in text: as rows bring them, as candidates write them, as records keep them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

LARGEST = 1e15
"""Beyond it a float has no digit after the point, and the square of what a rambling candidate writes ends."""

NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+\u2212])?"  # a sign, but no dash between two words or numbers
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
    r"|(?:(?<![\w.)])[-+\u2212])?(?<![\d.])\.\d+(?:[eE][-+]?\d+)?"
)


def number_in(text: str) -> float | None:
    """The first number of a text, None where there is none within LARGEST.

    1,200.5 has a thousand; a comma before other than three digits ends the number.
    """
    found = NUMBER.search(text)
    number = float(found[0].replace(",", "").replace("\u2212", "-")) if found else None
    return number if number is not None and abs(number) <= LARGEST else None


def number_as_text(number: float) -> str:
    """The shortest text that reads back as the same number; without a point where it is whole."""
    return str(int(number)) if number.is_integer() else repr(number)


def vector_as_text(vector: Iterable[float]) -> str:
    """A JSON list of the shortest texts of its numbers."""
    return f"[{','.join(map(number_as_text, vector))}]"


def vector_in(text: str) -> list[float]:
    """The numbers of a JSON list; none where the text is anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [float(number) for number in found] if is_vector(found) else []


def is_vector(value: Any) -> bool:
    """Whether it is a list of numbers, at least one and each within LARGEST."""
    if not isinstance(value, list) or not value or not {*map(type, value)} <= {int, float}:
        return False
    return not math.isnan(sum(value)) and max(map(abs, value)) <= LARGEST
