"""Generation: a free answer to an input, or the next turn of a conversation.

A conversation trains every turn of the assistant, and is judged by its last. The instruction opens its
system turn; the conversations of few-shot prompting stand before it, without their own system turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...core.data.conversation import before_answer, parse_conversation
from ...core.data.fields import paragraphs, required, required_text
from ...core.errors import RowFault
from ...core.hookspecs import hookimpl
from ...core.method import Style, Task
from ...core.types import Example


@hookimpl
def stepladder_tasks() -> Sequence[type[Task]]:
    return [Generate]


class Generate(Task):
    """Rows bring `input` and `response`, or `messages` alone, whose last turn is the answer."""

    name = "generate"
    summary = "write a free answer to each input"
    columns: ClassVar[Mapping[str, str]] = {
        "input": "what is asked",
        "response": "the right answer",
        "messages": "instead of both, a conversation: a list of {role, content}",
    }
    answering = "generate"
    metrics = ("exact_match", "token_f1", "rouge_l", "bleu", "chrf", "json_valid", "json_fields")
    chooses_by = "token_f1"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        if "messages" not in fields:
            return Example(row_id, required_text(fields, "input"), required_text(fields, "response"))
        if "input" in fields or "response" in fields:
            raise RowFault("messages as well as input or response: name those you mean under data.columns")
        messages = parse_conversation(required(fields, "messages"))
        return Example(row_id, before_answer(messages), messages[-1].content, messages)

    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        if style == "instruction":
            return paragraphs(instruction, example.input)
        if style == "question":
            return paragraphs(example.input, instruction)
        return paragraphs(instruction, f"{example.input}\nAnswer:")
