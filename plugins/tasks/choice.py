"""Multiple choice: each row brings its own answers, one of which is right.

Options are a list of texts, or texts with letters in one of three forms: {"label": ["A", "B"], "text":
["the bank", "the river"]} as in CommonsenseQA (Talmor et al. 2019, arXiv:1811.00937), [{"label": "A",
"text": "the bank"}, ...], or {"A": "the bank", ...}. In a csv file they stand as JSON in one cell.
"""

from __future__ import annotations

import json
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
    """The expected answer is the option's text, also where the row names it by its letter or its place."""

    name = "choice"
    summary = "pick the right one of each row's own options"
    columns: ClassVar[Mapping[str, str]] = {
        "input": "the question",
        "answer": "the right option: its text, its letter, or without letters its place, from 0",
        "options": 'the options: a list of texts, or {"label": [...], "text": [...]}',
    }
    answering = "choose"
    metrics = ("accuracy", "calibration_error")
    chooses_by = "accuracy"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        question = required_text(fields, "input")
        letters, options = _options(required(fields, "options"))
        answer = _answer(required(fields, "answer"), letters, options)
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
    value = _parsed(value)
    if isinstance(value, Mapping) and "text" not in value:
        value = [{"label": letter, "text": text} for letter, text in value.items()]
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        pairs = [item if isinstance(item, Mapping) else {} for item in value]
        value = {key: [pair.get(key) for pair in pairs] for key in ("label", "text")}
    if not isinstance(value, Mapping):
        return (), _texts(value, "options")
    letters, texts = _texts(value.get("label"), "options.label"), _texts(value.get("text"), "options.text")
    if len(letters) != len(texts):
        raise RowFault(f"options has {len(letters)} labels for {len(texts)} texts")
    return letters, texts


def _parsed(value: Any) -> Any:
    """The value of a cell that holds JSON; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


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


def _answer(value: Any, letters: tuple[str, ...], options: tuple[str, ...]) -> str:
    """The option that the row names. Raises RowFault where it names none, or may mean two."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowFault(f"answer is {kind_of(value)}, expected text or a place")
    said = require_words(str(value), "answer").strip()
    named = {options[letters.index(said)]} if said in letters else set()
    named |= {said} & set(options)
    if not letters and not (isinstance(value, str) and named):
        named |= {option for place, option in enumerate(options) if said == str(place)}
    if not named:
        raise RowFault(
            f"answer {said!r} is none of the {len(options)} options{_hint(said, letters, options)}"
        )
    if len(named) > 1:
        other = "letter" if letters else "place"
        raise RowFault(f"answer {said!r} is the {other} of one option and the text of another")
    return named.pop()


def _hint(said: str, letters: tuple[str, ...], options: tuple[str, ...]) -> str:
    if said.isdecimal() and not letters:
        return f", whose places are 0 to {len(options) - 1}"
    return did_you_mean(said, (*letters, *options))
