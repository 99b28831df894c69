"""The share of answers that are JSON objects of the expected form: the same keys, values of the same types.

Left out where an expected answer is no JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [JsonValid]


class JsonValid(Metric):
    name = "json_valid"

    def applies(self, records: Sequence[Record]) -> bool:
        return all(isinstance(parsed(record.expected), dict) for record in records)

    def row(self, record: Record) -> float:
        return float(form(parsed(record.predicted)) == form(parsed(record.expected)))


def parsed(text: str) -> Any:
    """The value of a JSON text; what is no JSON is an error's own type, like no value of JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ValueError


def form(value: Any) -> Any:
    """The keys of an object with the types of their values; whole numbers and others are of one type."""
    if isinstance(value, dict):
        return {key: form(each) for key, each in value.items()}
    return float if type(value) is int else type(value)
