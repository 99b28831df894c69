"""Language modelling: every token of a plain text is predicted from those before it.

The end token is predicted too. The text's first token is where the base's tokenizer opens texts with a begin
token; otherwise nothing stands before it, and it is given. A predictions file has of each row how many
tokens were predicted (`tokens`) and their summed negative log-likelihood in nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...core.data.fields import required_text
from ...core.hookspecs import hookimpl
from ...core.method import Style, Task
from ...core.types import Example


@hookimpl
def stepladder_tasks() -> Sequence[type[Task]]:
    return [Text]


class Text(Task):
    """A text is its own input and its own answer: nothing is asked of it."""

    name = "text"
    summary = "predict plain text, token by token"
    columns: ClassVar[Mapping[str, str]] = {"text": "the text"}
    answering = "likelihood"
    metrics = ("perplexity",)
    chooses_by = "perplexity"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        text = required_text(fields, "text")
        return Example(row_id, text, text)

    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        return ""
