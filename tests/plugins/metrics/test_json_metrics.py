"""Figures over answers that are JSON objects."""

from __future__ import annotations

import pytest
from stepladder.core.types import Record
from stepladder.plugins.metrics.json_fields import JsonFields
from stepladder.plugins.metrics.json_valid import JsonValid

EXPECTED = '{"item": "rye loaf", "quantity": 2, "delivery": true}'


@pytest.mark.parametrize(
    "said, valid, fields",
    [
        (EXPECTED, 1, 1),
        ('{"delivery": true, "quantity": 2, "item": " Rye Loaf"}', 1, 1),
        ('{"item": "bun", "quantity": 2.0, "delivery": false}', 1, 1 / 3),
        ('{"item": "rye loaf", "quantity": "2", "delivery": true}', 0, 2 / 3),
        ('{"item": "rye loaf", "quantity": 2, "delivery": 1}', 0, 2 / 3),
        ('{"item": "rye loaf", "quantity": 2}', 0, 2 / 3),
        ('{"item": "rye loaf", "quantity": 2, "delivery": true, "day": "Friday"}', 0, 1),
        ('{"item": "rye loaf", "quantity": 2, "delivery": true', 0, 0),
        ("[1]", 0, 0),
        ("Sure", 0, 0),
        ("", 0, 0),
    ],
)
def test_form_and_fields(said: str, valid: float, fields: float):
    record = Record("a", "", EXPECTED, said)
    assert JsonValid().row(record) == valid
    assert JsonFields().row(record) == pytest.approx(fields)


def test_they_are_left_out_where_no_object_is_expected():
    for expected in ("red", "7", "[1]", ""):
        for metric in (JsonValid(), JsonFields()):
            assert not metric.applies([Record("a", "", EXPECTED, ""), Record("b", "", expected, "")])
            assert metric.applies([Record("a", "", EXPECTED, "")])
