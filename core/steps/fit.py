"""Fit one candidate, and leave its adapter folder and its curves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.store import load_split
from ..discovery import discover
from ..method import Data
from ..model.adapter import Description, build_method, read_schema, write_adapter
from ..training.context import FitContext
from .candidate import open_base


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    registry, candidate = discover(), spec["candidate"]
    rendered = Path(spec["needs"]["render"])
    schema_json = json.loads((rendered / "schema.json").read_text())
    schema = read_schema(schema_json, registry)
    data = Data(
        schema.task,
        schema.instruction,
        schema.labels,
        train=load_split(rendered / "train"),
        validation=load_split(rendered / "validation"),
    )
    base = open_base(spec)
    method = build_method(candidate["method"], candidate["settings"], registry)
    started = time.perf_counter()
    adapted = method.fit(base, data, FitContext(folder))
    seconds = time.perf_counter() - started
    plugin = registry.plugin_of("methods", candidate["method"])
    description = Description(
        method=candidate["method"],
        settings=candidate["settings"],
        plugin=plugin.distribution,
        plugin_version=plugin.version,
        base=base.ref.name,
        base_fingerprint=base.ref.fingerprint,
        schema=schema_json,
    )
    report = adapted.report
    return {
        "trainable_parameters": adapted.trainable_parameters,
        "train_seconds": report.train_seconds if report else seconds,
        "trained_tokens": report.trained_tokens if report else 0,
        "artifact_bytes": write_adapter(folder / "artifact", adapted, description),
        "report": asdict(report) if report else None,
    }
