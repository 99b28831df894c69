"""Records of a known outcome, and metrics as a third party would write them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from stepladder.core.metric import Metric
from stepladder.core.types import Record


class Share(Metric):
    """0/1 row scores: whether "1" was said."""

    name = "share"

    def row(self, record):
        return float(record.predicted)


class MeanError(Metric):
    """Row scores, lower is better."""

    name = "mean_error"
    higher_is_better = False

    def row(self, record):
        return abs(float(record.predicted) - float(record.expected))


class Largest(Metric):
    """No mean of rows: only `value` is given."""

    name = "largest"

    def value(self, records):
        return max(float(record.predicted) for record in records)


@pytest.fixture
def share() -> Metric:
    return Share()


@pytest.fixture
def mean_error() -> Metric:
    return MeanError()


@pytest.fixture
def largest() -> Metric:
    return Largest()


@pytest.fixture
def said():
    """Records that predict `figures`, expecting 0."""

    def make(figures: Iterable[float]) -> list[Record]:
        return [
            Record(id=f"row-{i}", input="", expected="0", predicted=str(x)) for i, x in enumerate(figures)
        ]

    return make


@pytest.fixture
def likelihoods():
    """Records with these negative log-likelihoods, of so many tokens each."""

    def make(nats: Iterable[float], tokens: Iterable[int]) -> list[Record]:
        return [
            Record(f"row-{i}", "", "", "", negative_log_likelihood=float(x), tokens=int(n))
            for i, (x, n) in enumerate(zip(nats, tokens, strict=True))
        ]

    return make
