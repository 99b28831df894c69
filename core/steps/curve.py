"""The step that reads the finished runs of a curve together: who is best at how many training rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..evaluation.crossings import Crossing, Point, best_at, crossings
from ..evaluation.metrics import metrics_of
from ..evaluation.score import read_predictions
from ..metric import Metric
from ..report.curve import in_words, write_curve_page
from ..report.curve_picture import write_picture
from ..report.folder import replace
from .compare import VALIDATION
from .store import read_result

CURVE, PAGE, PICTURE = "curve.json", "curve.md", "curve.svg"
Json = dict[str, Any]


def run(spec: Mapping[str, Any], folder: Path) -> Json:
    """`spec`: name, config, runs (folder), left_out, points. A point has rows, run_dir, fingerprint, error,
    compare (the folder of that step, or None) and evaluated (folders by candidate).

    Leaves `<runs>/<name>-curve-<fingerprint[:12]>/` with curve.json (returned), curve.md, curve.svg.
    """
    metric = next(iter(metrics_of(spec["config"], discover()).values()))
    points = [_read_point(point) for point in spec["points"]]
    found = crossings(metric, points)
    prints = [point["fingerprint"] for point in spec["points"]]
    fingerprint = hashlib.sha256(json.dumps(prints).encode()).hexdigest()
    place = Path(spec["runs"], f"{spec['name']}-curve-{fingerprint[:12]}")
    curve = {
        "name": spec["name"],
        "fingerprint": fingerprint,
        "folder": str(place),
        "metric": metric.name,
        "validation_rows": _most(point.records for point in points),
        "left_out": spec["left_out"],
        "points": [_told(*each, metric) for each in zip(spec["points"], points, strict=True)],
        "crossings": [_crossing(each, metric) for each in found],
    }
    _leave(place, curve)
    return curve


def _read_point(point: Mapping[str, Any]) -> Point:
    """The validation records of those that finished, lowest rung first."""
    ok = [each for each in _candidates(point) if each["status"] == "ok"]
    paths = {each["id"]: Path(point["evaluated"][each["id"]], VALIDATION) for each in ok}
    return Point(point["rows"], {name: read_predictions(path) for name, path in paths.items()})


def _candidates(point: Mapping[str, Any]) -> list[Json]:
    """The entries of all candidates, lowest rung first; none where the run ended before."""
    if point["compare"] is None:
        return []
    candidates: list[Json] = read_result(Path(point["compare"]))["candidates"]
    return sorted(candidates, key=lambda each: each["rung"])


def _told(about: Mapping[str, Any], point: Point, metric: Metric) -> Json:
    chosen = read_result(Path(about["compare"]))["choice"] if about["compare"] else {"id": None, "reason": ""}
    return {
        "rows": about["rows"],
        "run_dir": about["run_dir"],
        "error": about["error"],
        "choice": chosen,
        "best": best_at(metric, point),
        "candidates": {each["id"]: _entry(each, metric.name) for each in _candidates(about)},
    }


def _entry(candidate: Mapping[str, Any], metric: str) -> Json:
    return {
        **{key: candidate[key] for key in ("rung", "status", "error")},
        "validation": candidate["validation_metrics"].get(metric),
        "test": candidate["metrics"].get(metric),
    }


def _crossing(crossing: Crossing, metric: Metric) -> Json:
    return {**asdict(crossing), "settled": crossing.settled, "text": in_words(crossing, metric)}


def _most(points: Iterable[Mapping[str, Sequence[Any]]]) -> int:
    return max((len(records) for point in points for records in point.values()), default=0)


def _leave(place: Path, curve: Mapping[str, Any]) -> None:
    """Put the finished folder in the place of an earlier one of the same curve."""
    new = place.with_name(f".{place.name}.{os.getpid()}.new")
    new.mkdir(parents=True)
    (new / CURVE).write_text(json.dumps(curve, indent=2) + "\n")
    (new / PAGE).write_text(write_curve_page(curve, PICTURE))
    write_picture(curve, new / PICTURE)
    replace(new, place)
