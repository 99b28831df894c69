"""Multiple choice: each row brings its own answers, one of which is right.

Options are a list of texts, or texts with letters, as in CommonsenseQA (Talmor et al. 2019,
arXiv:1811.00937): {"label": ["A", "B"], "text": ["the bank", "the river"]}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...core.data.fields import kind_of, paragraphs, require_words, required, required_text
from ...core.errors import RowFault, did_you_mean
from ...core.hookspecs import hookimpl
from ...core.method import Style, Task
from ...core.types import Example


@hookimpl
def stepladder_tasks() -> Sequence[type[Task]]:
    return [Choice]


class Choice(Task):
    """The expected answer is the option's text, also where the row names it by its letter."""

    name = "choice"
    summary = "pick the right one of each row's own options"
    columns: ClassVar[Mapping[str, str]] = {
        "input": "the question",
        "answer": "the right option: its text or its letter",
        "options": 'the options: a list of texts, or {"label": [...], "text": [...]}',
    }
    answering = "choose"
    metrics = ("accuracy", "calibration_error")
    chooses_by = "accuracy"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        question = required_text(fields, "input")
        letters, options = _options(required(fields, "options"))
        answer = _answer(required_text(fields, "answer").strip(), letters, options)
        return Example(row_id, question, answer, options=options)

    def options(self, example: Example, labels: Sequence[str]) -> Sequence[str]:
        return example.options

    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        listed = "\n".join([example.input, *(f"- {option}" for option in example.options)])
        choice = "Answer with one of the options."
        if style == "instruction":
            return paragraphs(instruction, choice, listed)
        if style == "question":
            return paragraphs(listed, instruction, choice)
        return paragraphs(instruction, f"{example.input}\nAnswer:")


def _options(value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Letters (none for a plain list) and texts."""
    if not isinstance(value, Mapping):
        return (), _texts(value, "options")
    letters, texts = _texts(value.get("label"), "options.label"), _texts(value.get("text"), "options.text")
    if len(letters) != len(texts):
        raise RowFault(f"options has {len(letters)} labels for {len(texts)} texts")
    return letters, texts


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise RowFault(f"{name} is {kind_of(value)}, expected a list of texts")
    texts = tuple(_text(item, name) for item in value)
    if len(texts) < 2:
        raise RowFault(f"{name} has {len(texts)} entries, expected at least 2")
    repeated = [text for index, text in enumerate(texts) if text in texts[:index]]
    if repeated:
        raise RowFault(f"{name} has {repeated[0]!r} twice")
    return texts


def _text(item: Any, name: str) -> str:
    if not isinstance(item, str):
        raise RowFault(f"{name} has {kind_of(item)} in it, expected texts alone")
    return require_words(item, f"an entry of {name}").strip()


def _answer(answer: str, letters: tuple[str, ...], options: tuple[str, ...]) -> str:
    lettered = options[letters.index(answer)] if answer in letters else None
    if lettered is None and answer not in options:
        near = did_you_mean(answer, (*letters, *options))
        raise RowFault(f"answer {answer!r} is none of the {len(options)} options{near}")
    if lettered is not None and answer in options and lettered != answer:
        raise RowFault(f"answer {answer!r} is the letter of one option and the text of another")
    return lettered or answer
