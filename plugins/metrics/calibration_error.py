"""Calibration error: how far a candidate's confidence lies from how often it is right; lower is better.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2: expected calibration error
over 15 bins of equal width, (0, 1/15], (1/15, 2/15], ... The confidence in an answer is its share in the
softmax over the scores of the row's possible answers. Behind the figure stand the bins of the reliability
diagram (there: figure 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ...core.errors import PluginError
from ...core.hookspecs import hookimpl
from ...core.metric import Metric
from ...core.types import Record

BINS = 15


@hookimpl
def stepladder_metrics() -> Sequence[type[Metric]]:
    return [CalibrationError]


class CalibrationError(Metric):
    name = "calibration_error"
    higher_is_better = False

    def applies(self, records: Sequence[Record]) -> bool:
        return all(_is_scored(record) for record in records)

    def value(self, records: Sequence[Record]) -> float:
        once = np.ones((1, len(records)))
        return float(self.resampled(records, once)[0])

    def resampled(self, records: Sequence[Record], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """A bin's gap between accuracy and confidence, weighed by its rows, is its rows' summed gaps."""
        confidences, right = confidences_of(records), hits(records)
        rows = np.arange(len(records))
        shape = (len(records), BINS)
        gaps = csr_array((right - confidences, (rows, bins_of(confidences))), shape=shape)
        figures: NDArray[np.float64] = np.abs(counts @ gaps).sum(axis=1) / counts.sum(axis=1)
        return figures

    def details(self, records: Sequence[Record]) -> Sequence[Mapping[str, Any]]:
        """Of each bin that has rows: its ends, its rows, their mean confidence and their accuracy."""
        confidences, right = confidences_of(records), hits(records)
        places = bins_of(confidences)
        return [
            {
                "above": place / BINS,
                "to": (place + 1) / BINS,
                "rows": int((places == place).sum()),
                "confidence": float(confidences[places == place].mean()),
                "accuracy": float(right[places == place].mean()),
            }
            for place in np.unique(places).tolist()
        ]


def bins_of(confidences: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each confidence, from 0; both [rows]."""
    return np.searchsorted(np.arange(1, BINS) / BINS, confidences)


def hits(records: Sequence[Record]) -> NDArray[np.float64]:
    """[rows]: 1 where the answer is right."""
    return np.array([float(record.predicted == record.expected) for record in records])


def confidences_of(records: Sequence[Record]) -> NDArray[np.float64]:
    """[rows]: each record's probability of what it predicted."""
    return np.array([confidence(record) for record in records])


def confidence(record: Record) -> float:
    """exp(score) of the predicted answer over the sum of exp(score) of all; PluginError without scores."""
    if not _is_scored(record):
        raise PluginError(
            f"metric 'calibration_error': row {record.id!r} has no score of its answer {record.predicted!r}; "
            "it judges candidates that score every possible answer. Set `choose.metric` to another metric."
        )
    assert record.scores is not None, "scored"
    said = record.scores[record.predicted]
    return 1 / math.fsum(math.exp(min(score - said, 600.0)) for score in record.scores.values())


def _is_scored(record: Record) -> bool:
    return record.scores is not None and record.predicted in record.scores
