"""Numbers in text: as rows bring them, as candidates write them, as records keep them."""

from __future__ import annotations

import re

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
