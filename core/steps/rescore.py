"""The step in which challenger and champion answer the same rows, each as it serves.

The challenger's answers are those it was registered with, once its package has proven itself. The champion
answers the challenger's test rows anew, but for those it was trained on. One model is loaded after the other,
so that a machine that can hold one is enough.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.identity import KEYS, keys_of
from ..discovery import discover
from ..errors import StepladderError
from ..evaluation.metrics import metrics_of
from ..evaluation.score import read_predictions, records, write_predictions
from ..method import Adapted
from ..metric import Metric
from ..package.layout import LINEAGE, PREDICTIONS, TEST, read_json, read_test, read_train_keys, sha256
from ..package.pack import spread
from ..package.served import load_served
from ..package.verify import verify_package
from ..types import Example, Record
from .candidate import say
from .store import read_result

CHALLENGER, CHAMPION = "challenger", "champion"
TIMED_ROWS = 20


@dataclass(frozen=True, slots=True)
class Rescored:
    """The champion's answers, and how many rows it was not asked; `fault` says why there are none at all."""

    records: Sequence[Record] = ()
    excluded: int = 0
    seconds_per_row: Sequence[float] = ()
    fault: str = ""


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes challenger.jsonl and champion.jsonl, the records of both.

    Returns {"champion_fault", "excluded", "test_sha256", "seconds_per_row": {"challenger", "champion"}};
    nothing where the challenger is the champion already. Raises ModelError for a challenger that does not
    answer as it was registered.
    """
    found = Path(spec["needs"]["contest"])
    contest = read_result(found)
    if contest["already"]:
        return {}
    package = found / CHALLENGER
    config = read_json(package, LINEAGE)["config"]
    metric = next(iter(metrics_of(config, discover()).values()))
    examples = read_test(package)
    timed = spread(examples, TIMED_ROWS)
    seconds = _prove(package, timed)
    _free()
    write_predictions(folder / f"{CHALLENGER}.jsonl", read_predictions(package / PREDICTIONS), metric)
    champion = _champion(contest["champion"], found / CHAMPION, examples, timed)
    champion = _scored(champion, folder / f"{CHAMPION}.jsonl", metric)
    return {
        "champion_fault": champion.fault,
        "excluded": champion.excluded,
        "test_sha256": sha256(package / TEST),
        "seconds_per_row": {CHALLENGER: seconds, CHAMPION: list(champion.seconds_per_row)},
    }


def _prove(package: Path, timed: Sequence[Example]) -> list[float]:
    """Verify the challenger; returns its seconds for each of the rows."""
    served = load_served(package)
    for what, found in verify_package(package, served).items():
        say(f"challenger: {what}: {found}")
    return seconds_per_row(served.adapted, timed)


def _champion(
    about: Mapping[str, Any] | None, package: Path, examples: Sequence[Example], timed: Sequence[Example]
) -> Rescored:
    """What came of the champion, if there is one."""
    if about is None:
        return Rescored()
    if about["fault"]:
        return Rescored(fault=about["fault"])
    try:
        return _rescore(package, examples, timed)
    except Exception as error:  # its base is gone, a plugin too: it can be replaced all the same
        return Rescored(fault=_told(error))


def _rescore(package: Path, examples: Sequence[Example], timed: Sequence[Example]) -> Rescored:
    asked = unseen(examples, read_train_keys(package))
    excluded = len(examples) - len(asked)
    say(f"champion: answers {len(asked)} rows, and not the {excluded} that it was trained on")
    adapted = load_served(package).adapted
    answers = records(asked, adapted.predict(asked)) if asked else []
    return Rescored(answers, excluded, seconds_per_row(adapted, timed))


def _scored(champion: Rescored, path: Path, metric: Metric) -> Rescored:
    """The same, with its records written; where the metric cannot be computed of them, that is its fault."""
    try:
        write_predictions(path, champion.records, metric)
    except Exception as error:
        return Rescored(fault=_told(error))
    return champion


def unseen(examples: Sequence[Example], trained: npt.NDArray[np.uint64]) -> list[Example]:
    """Those whose input is not among the keys `trained` [inputs]."""
    keys = np.frombuffer(b"".join(map(keys_of, examples)), dtype=KEYS)["input"]
    return [example for example, seen in zip(examples, np.isin(keys, trained), strict=True) if not seen]


def seconds_per_row(adapted: Adapted, examples: Sequence[Example]) -> list[float]:
    """Wall seconds of each, answered alone, after the first has been answered once to warm up."""
    return [_seconds(adapted, example) for example in (*examples[:1], *examples)][1:]


def _seconds(adapted: Adapted, example: Example) -> float:
    started = time.perf_counter()
    adapted.predict([example])
    return time.perf_counter() - started


def _free() -> None:
    """Give the memory of models that nobody holds back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, StepladderError) else f"{type(error).__name__}: {error}"
