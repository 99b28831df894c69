"""One fit with what it leaves, whatever the settings: alone, or as one trial of many."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..method import Adapted, Context, Data
from ..model.adapter import Description, build_method, write_adapter
from ..model.base import Base
from ..training.checkpoint import Keeping
from ..training.lent import Lent
from ..training.replay import ReplayText


@dataclass(frozen=True)
class Fitted:
    """A fitted candidate, who it is, and the wall seconds of its fit."""

    adapted: Adapted
    description: Description
    seconds: float

    def save(self, folder: Path) -> dict[str, Any]:
        """Fill the new `folder` with the candidate; returns what the fit says of itself."""
        report, searched = self.adapted.report, self.adapted.searched
        return {
            "trainable_parameters": self.adapted.trainable_parameters,
            "train_seconds": report.train_seconds if report else self.seconds,
            "trained_tokens": report.trained_tokens if report else 0,
            "replay_tokens": report.replay_tokens if report else 0,
            "artifact_bytes": write_adapter(folder, self.adapted, self.description),
            "report": asdict(report) if report else None,
            "searched": asdict(searched) if searched else None,
        }


@dataclass(frozen=True)
class Fitting:
    """All that a candidate is fitted with.

    `candidate` is a CandidateSpec as JSON, `description` is of what is saved, `load` gives the base as it
    lies on disk. `lent`, `replay`, `keeping` and `shard` go to the contexts of its fits.
    """

    candidate: Mapping[str, Any]
    description: Description
    data: Data
    load: Callable[[], Base]
    lent: Lent
    replay: ReplayText | None = None
    keeping: Keeping | None = None
    shard: bool = False

    def fit(self, settings: Mapping[str, Any], context: Context) -> Fitted:
        """`settings` stand in the place of the candidate's own; of one that hands on, there are none."""
        own = {**self.candidate["settings"], **settings}
        description = replace(self.description, settings={**self.description.settings, **settings})
        method = build_method(self.candidate["method"], own, self.lent.registry, trusted=True)
        base = self.load()
        started = time.perf_counter()
        adapted = method.fit(base, self.data, context)
        return Fitted(adapted, description, time.perf_counter() - started)
