"""Answer validation and test rows with a candidate as it would be served, and measure what it forgot."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.store import load_split
from ..discovery import discover
from ..evaluation.retention import measure_retention, read_retain_text
from ..evaluation.score import records, write_predictions
from ..method import Adapted, Task
from ..metric import Metric
from ..model.base import Base
from ..report.folder import PICTURE
from ..types import Record
from .candidate import open_adapted, open_base, say


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    registry = discover()
    base = open_base(spec)
    adapted = open_adapted(spec, base, registry)
    chooses = spec["config"]["choose"]["metric"] or registry.task(spec["config"]["task"]).chooses_by
    metric = registry.metric(chooses)()
    alters_base = adapted.alters_base
    merged = adapted.merge() is not None
    rendered = Path(spec["needs"]["render"])
    started = time.perf_counter()
    answered = _answer(adapted, rendered / "test", folder / "predictions.jsonl", metric)
    seconds, read = time.perf_counter() - started, adapted.prompt_tokens
    _draw(registry.task(spec["config"]["task"])(), answered, folder / PICTURE)
    _answer(adapted, rendered / "validation", folder / "validation_predictions.jsonl", metric)
    return {
        "evaluate_seconds": seconds,
        **_written(answered),
        "scorer_faults": adapted.scorer_faults(),
        "prompt_tokens": read,
        "merged": merged,
        "retention": _retention(spec, base, adapted if alters_base else None),
    }


def _answer(adapted: Adapted, split: Path, predictions: Path, metric: Metric) -> list[Record]:
    examples = load_split(split).examples()
    started = time.perf_counter()
    answered = records(examples, adapted.predict(examples))
    write_predictions(predictions, answered, metric)
    seconds = time.perf_counter() - started
    say(f"{split.name}: {len(examples)} rows answered in {seconds:.1f} s")
    return answered


def _draw(task: Task, answered: Sequence[Record], place: Path) -> None:
    picture = task.picture(answered)
    if picture is not None:
        place.write_bytes(picture)


def _written(answered: Sequence[Record]) -> dict[str, float]:
    """Tokens written for the test rows, in all and for each; 0 where answers are not written."""
    tokens = sum(row.written_tokens for row in answered)
    return {"written_tokens": tokens, "written_tokens_per_row": tokens / max(1, len(answered))}


def _retention(spec: Mapping[str, Any], base: Base, altering: Adapted | None) -> dict[str, float] | None:
    """None without a retain text; exactly no forgetting where the base's own weights answer as before.

    Where a candidate is served by the base in several states, it has forgotten what the worst of them has.
    """
    if "retention" not in spec["needs"]:
        return None
    measured = json.loads((Path(spec["needs"]["retention"]) / "result.json").read_text())
    before = after = measured["perplexity"]
    if altering:
        text = read_retain_text(Path(spec["config"]["retain"]["text"]))
        after = max(measure_retention(base, text).perplexity for _ in altering.attached())
    return {"perplexity_before": before, "perplexity_after": after, "forgetting": after / before - 1}
