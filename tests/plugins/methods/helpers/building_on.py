"""Candidates fitted on the toy rows, as the pipeline lends them to one that builds on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepladder.core.data.identity import keys_of
from stepladder.core.data.store import EXAMPLE_FEATURES, SplitWriter, example_batch, save_schema
from stepladder.core.method import Data, DataSchema
from stepladder.core.model.adapter import Description, build_method, write_adapter
from stepladder.core.model.base import Base
from stepladder.core.training.context import FitContext
from stepladder.core.training.lent import Lent
from stepladder.core.types import Example


def describe(method: str, settings: Mapping[str, Any], base: Base, data: Data) -> Description:
    schema = {"task": data.task.name, "instruction": data.instruction, "labels": list(data.labels)}
    return Description(method, settings, "stepladder", "0", base.ref.name, base.ref.fingerprint, schema)


def fit(name: str, method: str, settings: Mapping[str, Any], base: Base, data: Data, folder: Path, registry):
    """Leaves the artifact of the candidate `name`, and the base as it was; returns the artifact's folder."""
    place = folder / name
    place.mkdir()
    adapted = build_method(method, settings, registry).fit(base, data, FitContext(place))
    write_adapter(place / "artifact", adapted, describe(method, settings, base, data))
    adapted.detach()
    return place / "artifact"


def lend(artifacts: Mapping[str, Path], data: Data, test: list[Example], folder: Path, registry) -> Lent:
    """With the rows of `data`, and some test rows, as the step `render` leaves them."""
    rendered = folder / "rendered"
    rendered.mkdir()
    splits = {"train": data.train.examples(), "validation": data.validation.examples(), "test": test}
    for split, examples in splits.items():
        with SplitWriter(rendered / split, EXAMPLE_FEATURES) as writer:
            writer.write(example_batch(list(enumerate(examples))))
    save_schema(rendered, DataSchema(data.task, data.instruction, data.labels))
    return Lent(registry, rendered, {"columns": {"input": "text", "label": "colour"}}, artifacts)


def key(example: Example) -> bytes:
    return keys_of(example)[:8]
