import pytest
from stepladder.core.data.conversation import before_answer, parse_conversation
from stepladder.core.errors import RowFault
from stepladder.core.types import Message

SYSTEM, USER, ASSISTANT = ({"role": role, "content": role[0]} for role in ("system", "user", "assistant"))


def test_turns_alternate_after_an_optional_system_turn():
    assert parse_conversation([USER, ASSISTANT]) == (Message("user", "u"), Message("assistant", "a"))
    messages = parse_conversation([SYSTEM, USER, ASSISTANT, USER, ASSISTANT])
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert before_answer(messages) == "system: s\nuser: u\nassistant: a\nuser: u"


def test_a_key_without_a_value_is_no_key():
    assert parse_conversation([USER | {"name": None}, ASSISTANT]) == parse_conversation([USER, ASSISTANT])


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ("hello", "messages is text, expected a list of {role, content}"),
        ({"role": "user"}, "messages is an object, expected a list of {role, content}"),
        ([], "messages must end with an answer of the assistant"),
        ([SYSTEM], "messages must end with an answer of the assistant"),
        ([USER], "messages must end with an answer of the assistant"),
        ([USER, ASSISTANT, USER], "messages must end with an answer of the assistant"),
        ([ASSISTANT], "message 1 is of the assistant, expected the user"),
        ([SYSTEM, ASSISTANT], "message 2 is of the assistant, expected the user"),
        ([SYSTEM, SYSTEM, USER, ASSISTANT], "message 2 is of the system, expected the user"),
        ([USER, USER, ASSISTANT], "message 2 is of the user, expected the assistant"),
        ([USER, ASSISTANT, ASSISTANT], "message 3 is of the assistant, expected the user"),
        ([USER, SYSTEM, ASSISTANT], "message 2 is of the system, expected the assistant"),
        ([USER, "a"], "message 2: text, expected {role, content}"),
        ([USER, {"role": "assistent", "content": "a"}],
         "message 2: role is 'assistent', expected system, user, assistant (did you mean 'assistant'?)"),
        ([USER, {"role": "assistant"}], "message 2: content is missing"),
        ([USER, {"role": "assistant", "content": " "}], "message 2: content is empty"),
        ([USER, {"role": "assistant", "content": None}], "message 2: content is null"),
        ([USER, {"role": "assistant", "content": ["a"]}], "message 2: content is a list, expected text"),
        ([{"content": "u"}, ASSISTANT], "message 1: role is missing"),
        ([USER, ASSISTANT | {"tool_calls": [1]}],
         "message 2: 'tool_calls' would be lost; expected role and content alone"),
    ],
)  # fmt: skip
def test_faults(messages, reason):
    with pytest.raises(RowFault) as fault:
        parse_conversation(messages)
    assert str(fault.value) == reason
