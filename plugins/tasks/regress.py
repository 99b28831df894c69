"""Regression: a number for each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...core.data.fields import paragraphs, required_number, required_text
from ...core.data.numbers import number_as_text
from ...core.hookspecs import hookimpl
from ...core.method import Style, Task
from ...core.types import Example


@hookimpl
def stepladder_tasks() -> Sequence[type[Task]]:
    return [Regress]


class Regress(Task):
    """The expected answer is the number's shortest text: 3 and 3.0, or "3" out of a csv file, are the same.

    Candidates that answer in words may write no number; what that counts is said in
    core/evaluation/numbers.py.
    """

    name = "regress"
    summary = "give each input a number"
    columns: ClassVar[Mapping[str, str]] = {"input": "the text to be judged", "target": "its number"}
    answering = "number"
    metrics = ("mean_absolute_error", "r2", "spearman")
    chooses_by = "mean_absolute_error"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        target = number_as_text(required_number(fields, "target"))
        return Example(row_id, required_text(fields, "input"), target)

    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        choice = "Answer with a number."
        if style == "instruction":
            return paragraphs(instruction, choice, example.input)
        if style == "question":
            return paragraphs(example.input, instruction, choice)
        return paragraphs(instruction, f"{example.input}\nAnswer:")
