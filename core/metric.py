"""The contract of metrics: figures over the records of a candidate's answers."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .types import Record

    Counts = NDArray[np.float64]
    Figures = NDArray[np.float64]


class Metric(ABC):
    """A figure over predictions. Metrics that are means of row scores give `row`; others override `value`.

    `relative` metrics are compared by their ratio: a margin of 0.03 means 3 % (their figures are above 0).
    Others are compared by their difference, and a margin is a share of `scale`: 100 for one in per cent.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    relative: ClassVar[bool] = False
    scale: ClassVar[float] = 1.0

    def applies(self, records: Sequence[Record]) -> bool:
        """Whether the records hold what the figure is made of; else it is left out for their candidate."""
        return True

    def value(self, records: Sequence[Record]) -> float:
        """The figure over all records (at least one)."""
        scores = [score for record in records if (score := self.row(record)) is not None]
        if len(scores) < len(records):
            raise NotImplementedError(
                f"metric {self.name!r} must give `value` or a `row` score of every record"
            )
        return fmean(scores)

    def row(self, record: Record) -> float | None:
        """The record's own score, whose mean is `value`; None where the figure is no mean of rows."""
        return None

    def resampled(self, records: Sequence[Record], counts: Counts) -> Figures | None:
        """`value` of many resamples at once, for speed; None: `value` is called on each resample.

        `counts` [resamples, rows] says how often each record was drawn; returns [resamples].
        """
        return None

    def details(self, records: Sequence[Record]) -> Sequence[Mapping[str, Any]]:
        """The rows of a table behind the figure, as JSON; none where the figure says all."""
        return ()
