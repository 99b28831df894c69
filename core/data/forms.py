"""Forms of rows that many data sets share, so that they need no `columns`.

Alpaca (instruction, input, output), chat (messages: role, content), ShareGPT (conversations: from, value)
and prompt with completion, for tasks whose fields are those of a question and its answer, or of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RowFault
from ..method import Task
from .conversation import parse_conversation
from .fields import kind_of, paragraphs, required, required_text

Row = Mapping[str, Any]
Fields = dict[str, Any]

# In data sets gathered from ChatGPT people are human, and the model is gpt.
SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}


@dataclass(frozen=True)
class Form:
    """One form: the columns that it is known by, and the fields of a task that it gives.

    `reading` is what is said of it.
    """

    name: str
    columns: frozenset[str]
    gives: frozenset[str]
    reading: str
    fields: Callable[[Row], Fields]

    @property
    def guess(self) -> str:
        return f"read as {self.name} rows: {self.reading}"


def recognise(task: Task, names: Collection[str]) -> Form | None:
    """The form of rows with these columns; None where they have the task's own, or no known form."""
    there, has = set(names), set(task.columns)
    if any(own <= has & there for own in (QUESTION, TEXT)):
        return None
    return next((form for form in FORMS if form.gives <= has and form.columns <= there), None)


def _alpaca(row: Row) -> Fields:
    question = paragraphs(required_text(row, "instruction"), _optional_text(row, "input"))
    return {"input": question, **_taken(row, {"output": "response"})}


def _alpaca_text(row: Row) -> Fields:
    parts = required_text(row, "instruction"), _optional_text(row, "input"), required_text(row, "output")
    return {"text": paragraphs(*parts)}


def _completion(row: Row) -> Fields:
    return _taken(row, {"prompt": "input", "completion": "response"})


def _completion_text(row: Row) -> Fields:
    return {"text": required_text(row, "prompt") + required_text(row, "completion")}


def _chat(row: Row) -> Fields:
    return _taken(row, {name: name for name in ("input", "response", "messages")})


def _chat_text(row: Row) -> Fields:
    return {"text": _transcript(required(row, "messages"))}


def _sharegpt(row: Row) -> Fields:
    turns = required(row, "conversations")
    if not isinstance(turns, list):
        raise RowFault(f"conversations is {kind_of(turns)}, expected a list of {{from, value}}")
    return {"messages": [_turn(turn) for turn in turns]}


def _sharegpt_text(row: Row) -> Fields:
    return {"text": _transcript(_sharegpt(row)["messages"])}


def _turn(turn: Any) -> Any:
    """As a turn of a chat; what is none stays as it is, and is told of where chats are read."""
    if not isinstance(turn, Mapping) or "from" not in turn:
        return turn
    speaker = turn["from"]
    rest = {key: value for key, value in turn.items() if key not in ("from", "value")}
    return {**rest, "role": SPEAKERS.get(str(speaker), speaker), "content": turn.get("value")}


def _transcript(turns: Any) -> str:
    return paragraphs(*(f"{message.role}: {message.content}" for message in parse_conversation(turns)))


def _taken(row: Row, fields: Mapping[str, str]) -> Fields:
    """The columns that are there, by the names of their fields."""
    return {field: row[column] for column, field in fields.items() if column in row}


def _optional_text(row: Row, name: str) -> str:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowFault(f"{name} is {kind_of(value)}, expected text")
    return value or ""


ALPACA, COMPLETION = frozenset({"instruction", "output"}), frozenset({"prompt", "completion"})
CHAT, SHAREGPT = frozenset({"messages"}), frozenset({"conversations"})
QUESTION, TEXT = frozenset({"input", "response"}), frozenset({"text"})

FORMS = (
    Form("Alpaca", ALPACA, QUESTION, "input is instruction and input, response is output", _alpaca),
    Form("Alpaca", ALPACA, TEXT, "text is instruction, input and output, as paragraphs", _alpaca_text),
    Form("prompt/completion", COMPLETION, QUESTION, "input is prompt, response is completion", _completion),
    Form("prompt/completion", COMPLETION, TEXT, "text is prompt and completion, joined", _completion_text),
    Form("chat", CHAT, CHAT, "the last of messages is the response", _chat),
    Form("chat", CHAT, TEXT, "text is messages, each behind its role", _chat_text),
    Form("ShareGPT", SHAREGPT, CHAT, "messages are conversations, the last is the response", _sharegpt),
    Form("ShareGPT", SHAREGPT, TEXT, "text is conversations, each turn behind its role", _sharegpt_text),
)
