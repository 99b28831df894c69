"""The numbers of records, for metrics of tasks that are answered by one.

Worded candidates may write no number at all. Such an answer is off by the whole range of the expected
numbers (by 1 where they are all the same), towards the farther end of the range: it counts worse than any
number within the range, so that saying nothing never pays, and yet no more than that, so that one such
answer does not decide over all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.numbers import number_in
from ..types import Record
from .intervals import Array


def expected_and_predicted(records: Sequence[Record]) -> tuple[Array, Array]:
    """Both [rows] in float64, for records whose expected answers are numbers."""
    expected = np.array([float(record.expected) for record in records])
    written = [number_in(record.predicted) for record in records]
    low, high = expected.min(), expected.max()
    reach = high - low or 1.0
    worst = np.where(high - expected >= expected - low, expected + reach, expected - reach)
    pairs = zip(written, worst.tolist(), strict=True)
    return expected, np.array([other if number is None else number for number, other in pairs])
