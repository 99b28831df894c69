"""Classification: one label of a closed set for each input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from ...core.data.fields import paragraphs, required_label, required_text
from ...core.errors import DataError
from ...core.hookspecs import hookimpl
from ...core.method import Style, Task
from ...core.types import Example


@hookimpl
def stepladder_tasks() -> Sequence[type[Task]]:
    return [Classify]


class Classify(Task):
    """The labels are those of the training rows; a label may be text, a whole number, or true/false."""

    name = "classify"
    summary = "give each input one label of a closed set"
    columns: ClassVar[Mapping[str, str]] = {"input": "the text to be labelled", "label": "its label"}
    answering = "label"
    metrics = ("accuracy", "macro_f1", "calibration_error")
    chooses_by = "accuracy"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        return Example(row_id, required_text(fields, "input"), required_label(fields, "label"))

    def labels(self, expected: Iterator[str]) -> tuple[str, ...]:
        """In alphabetical order. Raises DataError where there are fewer than two."""
        labels = tuple(sorted(set(expected)))
        if len(labels) < 2:
            found = f"only {labels[0]!r}" if labels else "none"
            raise DataError(f"task classify needs at least 2 labels in the training rows, found {found}")
        return labels

    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        choice = f"Answer with one of: {', '.join(labels)}." if labels else ""
        if style == "instruction":
            return paragraphs(instruction, choice, example.input)
        if style == "question":
            return paragraphs(example.input, instruction, choice)
        return paragraphs(instruction, f"{example.input}\nAnswer:")
