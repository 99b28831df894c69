"""A config names secrets, and never holds one: what is written there is kept with the run, and shown.

A secret is named as {env: VARIABLE} or {prefect_secret: BLOCK}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .document import Document, Flag
from .faults import Fault

SECRET_KEY = re.compile(
    r"(.*_)?(api_?key|access_?key|auth|credentials?|passphrase|passw(or)?d|secret(_?key)?|token)",
    re.IGNORECASE,
)
WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@]*:[^\s/]*@\S*", re.IGNORECASE)
# Whose keys are the user's own, and whose faults are told by those who know what is expected there.
ELSEWHERE = ("base", "data.columns", "data.train", "data.validation", "data.test")
NAMING = ("env", "prefect_secret")
EXPECTED = (
    "a config never holds one: put it into an environment variable, and name that here: {env: VARIABLE}"
)


def check_secrets(document: Document) -> Iterator[Fault]:
    """Faults of values that look like a secret, told without them."""
    for place, value in _texts(document.values, ""):
        if SECRET_KEY.fullmatch(place.rpartition(".")[2]):
            yield Fault(
                place, f"found a text of {len(value)} characters that looks like a secret; {EXPECTED}"
            )
        elif WITH_PASSWORD.fullmatch(value):
            yield Fault(place, f"found an address with a password in it; {EXPECTED}")


def shown(flag: Flag) -> str:
    """The flag as messages quote it: what may be a secret is left out."""
    name, text = ".".join(flag.keys), flag.value if isinstance(flag.value, str) else ""
    secret = SECRET_KEY.fullmatch(flag.keys[-1]) or flag.keys[-1] == "key" or WITH_PASSWORD.search(text)
    return f"{name}=…" if secret else flag.text


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text with its dotted place; the items of a list have that of the list."""
    if isinstance(value, str) and value:
        yield place, value
    elif isinstance(value, dict):
        for key, each in value.items():
            inner = f"{place}.{key}".lstrip(".")
            if key not in NAMING and inner not in ELSEWHERE:
                yield from _texts(each, inner)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, place)
