"""Step `render`: every row that was read, as the tokens that the base is trained and scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bases import base_kind, read_model_config
from ..data.account import as_json
from ..data.lengths import context_length, length_policy
from ..data.prepare import own_places
from ..data.rendering import Rendering, copy_rows, render
from ..data.store import load_schema, save_schema
from ..data.wording import Reading, Wording
from ..discovery import Registry, discover
from ..method import DataSchema, Prompt
from ..model.locate import BaseRef
from ..tokenizer import Reader, Renderer


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes train/, validation/, test/ with tokens, and quarantine.jsonl, account.json and schema.json.

    A label that would forge a turn goes, with its own rows: every question names all labels.
    Raises DataError for too many rows that cannot be rendered; without a tokenizer they stay as they are.
    """
    read = Path(spec["needs"]["read"])
    if not BaseRef(**spec["base"]).has_weights:
        return {"data": as_json(copy_rows(read, folder))}
    rendering = _rendering(spec, read, discover())
    accounts = render(rendering, read, folder)
    if isinstance(rendering.wording, Wording):
        save_schema(folder, rendering.wording.schema)
    return {"data": as_json(accounts)}


def _rendering(spec: Mapping[str, Any], read: Path, registry: Registry) -> Rendering:
    base, data = Path(spec["base"]["path"]), spec["config"]["data"]
    places = own_places(data)
    schema = load_schema(read, registry.task)
    return Rendering(
        wording=_wording(base, schema),
        policy=length_policy(data, base),
        places={"validation": places["train"], **places},
        max_bad=data["max_bad"],
    )


def _wording(base: Path, schema: DataSchema) -> Wording | Reading:
    """As the base in this folder is trained; an encoder is trained on no token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False)
    if base_kind(read_model_config(base)) == "encoder":
        return Reading(Reader(tokenizer, context_length(base)))
    renderer = Renderer(tokenizer)
    labels = tuple(label for label in schema.labels if not renderer.forges(label))
    return Wording(renderer, replace(schema, labels=labels), Prompt())
