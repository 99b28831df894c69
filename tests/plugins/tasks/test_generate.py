import pytest
from stepladder.core.errors import RowFault
from stepladder.core.types import Example, Message
from stepladder.plugins.tasks.generate import Generate

TASK = Generate()


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


def test_an_answered_input():
    assert TASK.example("r1", {"input": "2+2?", "response": " 4\n"}) == Example("r1", "2+2?", " 4\n")


def test_a_conversation_asks_all_that_stands_before_its_last_answer():
    messages = turns(
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Bye"),
        ("assistant", "Bye!"),
    )
    example = TASK.example("r1", {"messages": messages})
    assert example.input == "system: Be brief.\nuser: Hi\nassistant: Hello\nuser: Bye"
    assert example.expected == "Bye!"
    assert example.messages[0] == Message("system", "Be brief.")
    assert len(example.messages) == 5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": "2+2?"}, "response is missing"),
        ({"input": "2+2?", "response": ""}, "response is empty"),
        ({"input": "2+2?", "response": " \n"}, "response is empty"),
        ({"input": "2+2?", "response": 4}, "response is a number, expected text"),
        ({"input": "2+2?", "response": None}, "response is null"),
        ({"input": "", "response": "4"}, "input is empty"),
        ({"messages": None}, "messages is null"),
        (
            {"messages": turns(("user", "a"), ("assistant", "b")), "input": "a"},
            "messages as well as input or response: name those you mean under data.columns",
        ),
    ],
)
def test_faults(fields, reason):
    with pytest.raises(RowFault) as fault:
        TASK.example("", fields)
    assert str(fault.value) == reason


def test_questions():
    example = Example("", "2+2?", "4")
    asked = {
        style: TASK.question(example, style, "Count.", ()) for style in ("instruction", "question", "cloze")
    }
    assert asked == {
        "instruction": "Count.\n\n2+2?",
        "question": "2+2?\n\nCount.",
        "cloze": "Count.\n\n2+2?\nAnswer:",
    }
    assert TASK.question(example, "instruction", "", ()) == "2+2?"
