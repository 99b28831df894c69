"""All that is known of a registered version: whence it comes, how it was judged, when it was champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from .faults import mlflow_answers
from .package import read_about
from .standing import read_standing
from .tags import APPROVED, COPIED_FROM, GATE, PREVIOUS_CHAMPION, TEST_SHA256, VERDICT, VERDICT_REASON
from .versions import Version, registered_model

OF_A_CANDIDATE = ("id", "method", "rung", "settings", "metrics", "retention", "cost")
Json = dict[str, Any]


@mlflow_answers()
def about(client: MlflowClient, version: Version) -> Json:
    """As JSON, by subject. Raises ModelError where the version has no package that says so."""
    said = read_about(version)
    lineage, serving, entry = said["lineage"], said["serving"], said["candidate"]
    return {
        "model": _model(client, version),
        "promotion": _promotion(version.tags),
        "run": {**said["run"], "mlflow_run": version.run_id},
        "candidate": {key: entry[key] for key in OF_A_CANDIDATE if key in entry},
        "base": serving.pop("base"),
        "serving": serving,
        **{key: value for key, value in lineage.items() if key != "config"},
        "config": lineage["config"],
    }


def _model(client: MlflowClient, version: Version) -> Json:
    """Its name, and its place among the champions, oldest first."""
    held = registered_model(client, version.name).aliases
    standing = read_standing(client, version.name)
    return {
        "name": version.name,
        "version": version.version,
        "aliases": sorted(alias for alias, holder in held.items() if str(holder) == version.version),
        "copied_from": version.tags.get(COPIED_FROM),
        "champion": standing.champion,
        "champions": list(standing.champions),
    }


def _promotion(tags: Mapping[str, str]) -> Json | None:
    """What the gates said; None where nobody has asked them."""
    if VERDICT not in tags:
        return None
    gates = {tag.removeprefix(GATE): said for tag, said in sorted(tags.items()) if tag.startswith(GATE)}
    return {
        "verdict": tags[VERDICT],
        "reason": tags.get(VERDICT_REASON),
        "previous_champion": tags.get(PREVIOUS_CHAMPION),
        "approved": tags.get(APPROVED),
        "test_sha256": tags.get(TEST_SHA256),
        "gates": gates,
    }
