"""Fit one candidate, and leave its adapter folder and its curves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.store import load_schema, load_split
from ..discovery import Registry, discover
from ..errors import DataError
from ..evaluation.metrics import metrics_of
from ..method import Data, Method
from ..model.adapter import Description, build_method, write_adapter
from ..training.context import FitContext
from ..training.replay import ReplayText, load_rows
from .candidate import open_base
from .replay import ROWS


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    registry, candidate = discover(), spec["candidate"]
    description = _description(spec, registry)
    method = build_method(candidate["method"], candidate["settings"], registry)
    data = _data(spec, registry)
    _require_rows(method, data)
    base = open_base(spec)
    started = time.perf_counter()
    adapted = method.fit(base, data, FitContext(folder, _replay(spec)))
    seconds = time.perf_counter() - started
    report = adapted.report
    return {
        "trainable_parameters": adapted.trainable_parameters,
        "train_seconds": report.train_seconds if report else seconds,
        "trained_tokens": report.trained_tokens if report else 0,
        "replay_tokens": report.replay_tokens if report else 0,
        "artifact_bytes": write_adapter(folder / "artifact", adapted, description),
        "report": asdict(report) if report else None,
        "searched": asdict(adapted.searched) if adapted.searched else None,
    }


def _require_rows(method: Method, data: Data) -> None:
    fault = method.data_fault(data)
    if fault:
        raise DataError(f"{method.name}: {fault}")


def _description(spec: Mapping[str, Any], registry: Registry) -> Description:
    candidate, base = spec["candidate"], spec["base"]
    plugin = registry.plugin_of("method", candidate["method"])
    return Description(
        method=candidate["method"],
        settings=candidate["settings"],
        plugin=plugin.distribution,
        plugin_version=plugin.version,
        base=base["name"],
        base_fingerprint=base["fingerprint"],
        schema=json.loads((Path(spec["needs"]["render"]) / "schema.json").read_text()),
    )


def _replay(spec: Mapping[str, Any]) -> ReplayText | None:
    if "replay" not in spec["needs"]:
        return None
    return ReplayText(load_rows(Path(spec["needs"]["replay"]) / ROWS), spec["config"]["replay"]["share"])


def _data(spec: Mapping[str, Any], registry: Registry) -> Data:
    rendered = Path(spec["needs"]["render"])
    schema = load_schema(rendered, registry.task)
    chooses = next(iter(metrics_of(spec["config"], registry).values()))
    return Data(
        schema.task,
        schema.instruction,
        schema.labels,
        train=load_split(rendered / "train"),
        validation=load_split(rendered / "validation"),
        metric=chooses if spec["candidate"]["searches"] else None,
    )
