"""What is known of registered versions, as rows of a table: of one, or what differs between two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.evaluation.table import interval

ABSENT = "-"
DIGEST = re.compile(r"[0-9a-f]{40,}")
SHOWN = 12
About = Mapping[str, Any]


def known(about: About) -> list[tuple[str, str]]:
    """Each thing that is known, by its dotted key."""
    return [(key, _show(value)) for key, value in _leaves(about)]


def differences(one: About, other: About) -> dict[str, tuple[Any, Any]]:
    """What is not the same in both, by its dotted key; None where one has nothing."""
    ours, theirs = dict(_leaves(one)), dict(_leaves(other))
    pairs = {key: (ours.get(key), theirs.get(key)) for key in dict.fromkeys([*ours, *theirs])}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def side_by_side(differing: Mapping[str, tuple[Any, Any]]) -> list[tuple[str, str, str]]:
    return [(key, _show(mine), _show(theirs)) for key, (mine, theirs) in differing.items()]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is no object, by its dotted key; a figure is one value, and an empty object none."""
    if not isinstance(value, Mapping) or _is_figure(value):
        yield key, value
    elif not value:
        yield key, None
    else:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)


def _is_figure(value: Mapping[str, Any]) -> bool:
    return value.keys() == {"value", "low", "high"}


def _show(value: Any) -> str:
    """For reading: hashes are cut, figures have their interval."""
    if value is None or value == []:
        return ABSENT
    if isinstance(value, Mapping) and _is_figure(value):
        return interval(value)
    if isinstance(value, str):
        return DIGEST.sub(lambda digest: digest[0][:SHOWN], value)
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
