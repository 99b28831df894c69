"""Rows in well-known forms need no `columns`; the task's own columns, and named ones, come first."""

import pytest
from stepladder.core.data.columns import Columns
from stepladder.core.errors import RowFault
from stepladder.core.source import SourceRow
from stepladder.core.types import Message
from stepladder.plugins.tasks.classify import Classify
from stepladder.plugins.tasks.generate import Generate
from stepladder.plugins.tasks.text import Text

ALPACA = {"instruction": "Add.", "input": "2, 3", "output": "5"}
COMPLETION = {"prompt": "2 + 3 =", "completion": " 5"}
TURNS = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]
CHAT = {"messages": TURNS, "id": 7}
SHAREGPT = {"conversations": [{"from": "human", "value": "2 + 3?"}, {"from": "gpt", "value": "5"}]}
MESSAGES = (Message("user", "2 + 3?"), Message("assistant", "5"))


def fitted(task, *rows, **data):
    head = [SourceRow(number, row) for number, row in enumerate(rows, start=1)]
    return Columns.of(task, data).fitted(head)


def read(columns, row):
    return columns.read(SourceRow(1, row))


@pytest.mark.parametrize(
    ("row", "guess", "question", "answer", "messages"),
    [
        (ALPACA, "Alpaca rows: input is instruction and input, response is output", "Add.\n\n2, 3", "5", ()),
        (
            COMPLETION,
            "prompt/completion rows: input is prompt, response is completion",
            "2 + 3 =",
            " 5",
            (),
        ),
        (CHAT, "chat rows: the last of messages is the response", "user: 2 + 3?", "5", MESSAGES),
        (
            SHAREGPT,
            "ShareGPT rows: messages are conversations, the last is the response",
            "user: 2 + 3?",
            "5",
            MESSAGES,
        ),
    ],
)
def test_questions_and_answers_in_a_known_form(row, guess, question, answer, messages):
    columns = fitted(Generate(), row)
    assert columns.form.guess == f"read as {guess}"
    columns.check("rows.jsonl", [SourceRow(1, row)])
    example = read(columns, row)
    assert (example.input, example.expected, example.messages) == (question, answer, messages)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (ALPACA, "Add.\n\n2, 3\n\n5"),
        (COMPLETION, "2 + 3 = 5"),
        (CHAT, "user: 2 + 3?\n\nassistant: 5"),
        (SHAREGPT, "user: 2 + 3?\n\nassistant: 5"),
    ],
)
def test_texts_in_a_known_form(row, text):
    assert read(fitted(Text(), row), row).input == text


@pytest.mark.parametrize("nothing", [{"input": ""}, {"input": None}, {}])
def test_an_alpaca_row_may_have_no_input(nothing):
    columns = fitted(Generate(), ALPACA)
    row = {"instruction": "Sing.", "output": "La", **nothing}
    assert read(columns, row).input == "Sing."


def test_the_tasks_own_columns_and_named_ones_come_before_any_form():
    own = {**ALPACA, "response": "five", "messages": None}
    assert fitted(Generate(), own).form is None
    assert fitted(Text(), {**ALPACA, "text": "whole"}).form is None
    named = fitted(Generate(), ALPACA, columns={"input": "input", "response": "output"})
    assert (named.form, read(named, ALPACA).input) == (None, "2, 3")
    worded = fitted(Generate(), ALPACA, prompt="{{ instruction }}", response="{{ output }}")
    assert (worded.form, read(worded, ALPACA).input) == (None, "Add.")


def test_other_tasks_and_other_rows_are_read_as_they_stand():
    assert fitted(Classify(), ALPACA).form is None
    assert fitted(Generate(), {"question": "2 + 3?", "answer": "5"}).form is None
    assert fitted(Generate()).form is None


def test_chats_beside_questions_are_read_each_by_its_own_columns():
    columns = fitted(Generate(), CHAT)
    assert read(columns, {"input": "2 + 3?", "response": "5"}).messages == ()


@pytest.mark.parametrize(
    ("form", "row", "reason"),
    [
        (ALPACA, {**ALPACA, "instruction": 3}, "instruction is a number, expected text"),
        (ALPACA, {**ALPACA, "instruction": None}, "instruction is null"),
        (ALPACA, {**ALPACA, "input": ["2"]}, "input is a list, expected text"),
        (ALPACA, {"instruction": "Add."}, "response is missing"),
        (ALPACA, {**ALPACA, "output": ""}, "response is empty"),
        (COMPLETION, {"prompt": "2 + 3 ="}, "response is missing"),
        (SHAREGPT, {"conversations": "hi"}, "conversations is text, expected a list of {from, value}"),
        (SHAREGPT, {"conversations": ["hi"]}, "message 1: text, expected {role, content}"),
        (SHAREGPT, {"conversations": [{"from": ["gpt"], "value": "5"}]}, "message 1: role is a list"),
        (SHAREGPT, {"conversations": [{"from": "gpt", "value": "5"}]}, "message 1 is of the assistant"),
        (
            SHAREGPT,
            {"conversations": [{"from": "human", "value": "5", "tool": "x"}]},
            "message 1: 'tool' would be lost",
        ),
        (SHAREGPT, {"conversations": [{"from": "humen", "value": "5"}]}, "message 1: role is 'humen'"),
    ],
)
def test_a_row_that_breaks_the_form_is_faulty_alone(form, row, reason):
    with pytest.raises(RowFault) as fault:
        read(fitted(Generate(), form), row)
    assert str(fault.value).startswith(reason)
