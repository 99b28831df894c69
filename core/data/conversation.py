"""Rows that come as conversations: a list of {role, content}, checked turn by turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from ..errors import RowFault, did_you_mean
from ..types import Message, Role
from .fields import kind_of, required_text

ROLES = get_args(Role)


def parse_conversation(value: Any) -> tuple[Message, ...]:
    """The turns of one row.

    After a system turn, if there is one, user and assistant alternate; the user begins and the
    assistant has the last word. Raises RowFault for anything else.
    """
    if not isinstance(value, list):
        raise RowFault(f"messages is {kind_of(value)}, expected a list of {{role, content}}")
    messages = tuple(_numbered(number, turn) for number, turn in enumerate(value, start=1))
    _require_turns(messages)
    return messages


def before_answer(messages: Sequence[Message]) -> str:
    """What stands before the last turn, as one text: the input of a conversation."""
    return "\n".join(f"{message.role}: {message.content}" for message in messages[:-1])


def _numbered(number: int, turn: Any) -> Message:
    try:
        return _message(turn)
    except RowFault as fault:
        raise RowFault(f"message {number}: {fault}") from None


def _message(turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise RowFault(f"{kind_of(turn)}, expected {{role, content}}")
    unread = sorted(key for key in turn.keys() - {"role", "content"} if turn[key] is not None)
    if unread:
        raise RowFault(f"{unread[0]!r} would be lost; expected role and content alone")
    role = required_text(turn, "role")
    if role not in ROLES:
        raise RowFault(f"role is {role!r}, expected {', '.join(ROLES)}{did_you_mean(role, ROLES)}")
    return Message(cast("Role", role), required_text(turn, "content"))


def _require_turns(messages: Sequence[Message]) -> None:
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    skipped = len(messages) - len(turns)
    for index, message in enumerate(turns):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            raise RowFault(f"message {index + skipped + 1} is of the {message.role}, expected the {expected}")
    if not turns or turns[-1].role != "assistant":
        raise RowFault("messages must end with an answer of the assistant")
