"""Checks that a package, or a candidate's artifact folder, is as it was made and answers as it did."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..data.conversation import parse_conversation
from ..errors import ModelError, RowFault
from ..evaluation.score import read_predictions
from ..model.adapter import MANIFEST as ARTIFACT_MANIFEST
from ..model.adapter import verify_adapter
from ..types import Example, Record
from .layout import ARTIFACT, MANIFEST, RECORDED, SERVED, check_manifest, read_json, read_lines
from .pack import ROWS, answers_again, spread
from .replay import FEW_BITS, OTHER_COMPANY, ask, require_same, tolerance
from .served import UNSAID, Served, load_candidate, open_package

# By what was checked: what was found.
Checked = dict[str, str]
COMPARED = {
    "template": "the chat template and the vocabulary",
    "stop_ids": "the tokens that end an answer",
    "labels": "the labels",
    "decoding": "how open answers are written",
}
TURN = re.compile(r"(?:^|\n)(system|user|assistant): ")


def verify_package(folder: Path, served: Served | None = None) -> Checked:
    """Check files, base, serving and answers; `served` is the package where it is loaded already.

    Raises ModelError for the first of them that is not as it was.
    """
    check_manifest(folder)
    verify_adapter(folder / ARTIFACT)
    recorded = read_json(folder, SERVED)
    served = served or open_package(folder)
    _require_same_serving(recorded, asdict(served.serving))
    rows = list(read_lines(folder / RECORDED))
    require_same(rows, ask(served, rows), tolerance(recorded["dtype"], served))
    files = len(read_json(folder, MANIFEST)) + len(read_json(folder / ARTIFACT, ARTIFACT_MANIFEST))
    return {
        "files": f"{files} files as they were packed",
        "base": _base(served),
        "serving": "template, stop ids, labels and decoding as recorded",
        "answers": f"{len(rows)} recorded rows answered as then",
    }


def verify_artifact(folder: Path) -> Checked:
    """Check a candidate's artifact folder: its files, its base, and the predictions beside it.

    Raises ModelError for the first of them that is not as it was.
    """
    description = verify_adapter(folder)
    served = load_candidate(folder, description.base_ref)
    files = len(read_json(folder, ARTIFACT_MANIFEST))
    return {
        "files": f"{files} files as the fit wrote them",
        "base": _base(served),
        "answers": _answers(folder.absolute().parent / "predictions.jsonl", served),
    }


def _base(served: Served) -> str:
    if served.base.kind == "endpoint":
        return f"{served.base.ref.name}, by its address alone: what answers there cannot be checked"
    if not served.base.ref.has_weights:
        return "none, and none needed"
    revision = f", revision {served.base.ref.revision}" if served.base.ref.revision else ""
    return f"{served.base.ref.name} as recorded (sha256 {served.base.ref.fingerprint[:12]}{revision})"


def _require_same_serving(recorded: Mapping[str, Any], loaded: Mapping[str, Any]) -> None:
    for key, what in COMPARED.items():
        if recorded[key] != loaded[key]:
            raise ModelError(
                f"{what}: recorded {_show(recorded[key])}, loaded {_show(loaded[key])}: another version "
                "of a library or a plugin reads them differently; `stepladder show MODEL` lists those of then"
            )


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _answers(predictions: Path, served: Served) -> str:
    if not predictions.is_file():
        return f"not compared: there is no {predictions.name} beside the folder"
    if served.base.kind == "endpoint":
        return "not compared: nobody here knows what answers at the URL today"
    if not answers_again(served):
        return "not compared: its decoder draws them"
    records = spread(read_predictions(predictions), ROWS)
    rows = [_row(record, served) for record in records]
    said, answered = ask(served, rows), f"{len(rows)} rows of {predictions.name} answered as then"
    try:
        require_same(rows, said, OTHER_COMPANY)
    except ModelError:
        require_same(rows, said, FEW_BITS)
        return f"{answered}, as far as a machine shows that computes in fewer bits"
    return answered


def _row(record: Record, served: Served) -> dict[str, Any]:
    """The line of a predictions file as an example with its answer."""
    example = Example(record.id, record.input, record.expected, slices=record.slices, task=record.task)
    if served.task.answering == "choose":  # it scores each of the row's options, in their order
        example = replace(example, options=tuple(record.scores or ()))
    if served.task.answering == "generate":
        example = replace(example, messages=_conversation(record.input))
    return {**asdict(example), **asdict(record)}


def _conversation(text: str) -> tuple[Any, ...]:
    """The turns of a row that came as a conversation, read back from its text; none for any other."""
    before, *turns = TURN.split(text)
    pairs = [{"role": role, "content": said} for role, said in zip(turns[::2], turns[1::2], strict=True)]
    try:
        return () if before else parse_conversation([*pairs, {"role": "assistant", "content": UNSAID}])
    except RowFault:
        return ()
