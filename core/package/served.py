"""A registered candidate, loaded where it serves: its base, its adapter merged in, and its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.conversation import before_answer, parse_conversation
from ..data.fields import required_text
from ..discovery import Registry, discover
from ..errors import ModelError, RowFault, did_you_mean
from ..method import Adapted, Method, Task
from ..model.adapter import Description, build_method, read_adapter, read_schema
from ..model.base import Base, load_base
from ..model.locate import BaseRef
from ..types import Example
from .base import find_base
from .layout import ARTIFACT, SERVED, check_manifest, read_json

Row = Mapping[str, Any]
# Stands for the answer that a conversation waits for.
UNSAID = "?"


@dataclass(frozen=True, slots=True)
class Serving:
    """What decides the answers beside the weights, as it is where the candidate is loaded.

    `template` is the sha256 of the chat template and the vocabulary, empty without a base. `decoding` says
    how open answers are written, None for a task that has none. `dtype` is what is computed in, `answering`
    the way in which the task is answered.
    """

    template: str
    stop_ids: list[int]
    labels: list[str]
    decoding: dict[str, Any] | None
    dtype: str
    answering: str


@dataclass(frozen=True)
class Served:
    """Answers as the candidate did when it was evaluated."""

    base: Base
    adapted: Adapted
    task: Task
    serving: Serving

    def answer(self, rows: Sequence[Row]) -> list[str]:
        """The answer to each row: `input`, and `options` where the task has each row bring its own.

        `task` says of which task of a family a row is, where the candidate was fitted to several.
        Of a task that is answered by a sample, `input` is the label to be sampled.

        A conversation comes as `messages`, the last one the user's. Raises ModelError for a row that
        cannot be read, DataError for one that cannot be put to the model.
        """
        examples = [self._example(place, row) for place, row in enumerate(rows)]
        return [said.predicted for said in self.adapted.predict(examples)]

    def _example(self, place: int, row: Row) -> Example:
        messages, task = _given(row, "messages"), str(_given(row, "task") or "")
        try:
            if messages:
                turns = [dict(turn) for turn in messages]
                conversation = parse_conversation([*turns, {"role": "assistant", "content": UNSAID}])
                return Example(str(place), before_answer(conversation), UNSAID, conversation, task=task)
            text = required_text({"input": _given(row, "input")}, "input")
            if self.task.answering == "sample":
                return Example(str(place), "", self._label(text))
            return Example(str(place), text, "", options=self._options(row), task=task)
        except RowFault as fault:
            raise ModelError(f"row {place + 1}: {fault}") from fault

    def _label(self, text: str) -> str:
        labels = self.serving.labels
        if text not in labels:
            raise RowFault(
                f"no label {text!r}{did_you_mean(text, labels)}: expected one of {', '.join(labels)}"
            )
        return text

    def _options(self, row: Row) -> tuple[str, ...]:
        if self.task.answering != "choose":
            return ()
        options = tuple(str(option) for option in _given(row, "options") or ())
        if len(set(options)) < max(2, len(options)):
            raise RowFault(
                f"the task {self.task.name} expects at least two different options, found {options}"
            )
        return options


def load_served(folder: Path) -> Served:
    """Load a package. Raises ModelError where a file is changed, or the base is not to be had as it was."""
    check_manifest(folder)
    return open_package(folder)


def open_package(folder: Path) -> Served:
    """Load a package that may have no manifest yet."""
    return load_candidate(folder / ARTIFACT, BaseRef(**read_json(folder, SERVED)["base"]))


def load_candidate(artifact: Path, recorded: BaseRef) -> Served:
    """Load a candidate's artifact folder as it serves, onto the base with the recorded content."""
    registry, base = discover(), load_base(find_base(recorded))
    adapted = read_adapter(artifact, base, registry)
    adapted.merge()
    description = Description.read(artifact)
    task = read_schema(description.schema, registry).task
    return Served(base, adapted, task, _serving(base, description, task, registry))


def _serving(base: Base, description: Description, task: Task, registry: Registry) -> Serving:
    method = build_method(description.method, description.settings, registry)
    worded = base.ref.has_weights
    writes = task.answering in ("generate", "number") or base.kind == "endpoint"
    return Serving(
        template=base.renderer.fingerprint if worded else "",
        stop_ids=sorted(base.renderer.stop_ids) if worded else [],
        labels=list(description.schema["labels"]),
        decoding=_decoding(method) if writes else None,
        dtype=base.dtype,
        answering=task.answering,
    )


def _decoding(method: Method) -> dict[str, Any] | None:
    """The decoder with the settings that it has by now, defaults included."""
    if method.decoder is None:
        return None
    settings = method.decoder.settings.model_dump(mode="json")
    longest = getattr(method.settings, "max_new_tokens", None)
    return {"decoder": method.decoder.name, "settings": settings, "max_new_tokens": longest}


def _given(row: Row, column: str) -> Any:
    """What a row says in a column; None for the holes of a table, which pandas fills with NaN."""
    value: Any = row.get(column)
    if isinstance(value, float):
        return None
    return value.tolist() if hasattr(value, "tolist") else value
