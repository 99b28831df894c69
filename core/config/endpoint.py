"""A base that is a URL: its address, the variable of its key, and what cannot be asked of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from ..bases import DEFAULT_BASE, endpoint_fault, is_endpoint
from .document import Document
from .faults import Fault

# In capitals, so that a key in the place of its variable's name is not taken for one and shown.
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


def check_endpoint(document: Document) -> Iterator[Fault]:
    """Faults of a base that is a URL; in the document every such base has a section `endpoint`."""
    base, section = document.values.get("base", DEFAULT_BASE), document.values.get("endpoint")
    if not isinstance(base, str) or not is_endpoint(base):
        if section is not None:
            yield Fault("endpoint", f"says how a URL is asked, and the base is {base}: remove it")
        return
    if section is None:
        section = document.values["endpoint"] = {}
    if fault := endpoint_fault(base):
        yield Fault("base", fault)
    if isinstance(section, dict):
        key = section.get("key")
        if isinstance(key, dict) and key.keys() == {"env"}:
            key = section["key"] = key["env"]
        if fault := _key_fault(key):
            yield Fault("endpoint.key", fault)
    yield from _data_faults(document.values.get("data"))


def _key_fault(key: Any) -> str | None:
    """Never with the text that was found, which may be a key, unless it has the form of a name."""
    if not isinstance(key, str):
        return None
    if not VARIABLE.fullmatch(key):
        return (
            "expected the name of an environment variable in capitals, such as OPENAI_API_KEY, found a text "
            f"of {len(key)} characters that is none: put the key into a variable, and its name here"
        )
    if not os.environ.get(key, "").strip():
        return f"the environment has no variable {key}, or nothing in it: export {key}=... before the run"
    return None


def _data_faults(data: Any) -> Iterator[Fault]:
    if isinstance(data, dict) and data.get("max_length") is not None:
        yield Fault(
            "data.max_length",
            "counts tokens, and a base that is a URL has no tokenizer here: remove it, and keep shots and "
            "max_new_tokens to what the endpoint takes",
        )
