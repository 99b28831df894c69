"""The mean share of the expected fields that an answer's JSON object has right; 0 where it is no object.

Values are compared as JSON, texts but for case and white space around them. Left out where an expected
answer is no JSON object with a field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [JsonFields]


class JsonFields(Metric):
    name = "json_fields"

    def applies(self, records: Sequence[Record]) -> bool:
        return all(fields(record.expected) for record in records)

    def row(self, record: Record) -> float:
        expected, said = fields(record.expected), fields(record.predicted)
        right = [key for key, value in expected.items() if key in said and alike(said[key], value)]
        return len(right) / len(expected)


def fields(text: str) -> Mapping[str, Any]:
    """Of a JSON object; empty for any other text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.strip().casefold() == other.strip().casefold()
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
