"""A package answers rows as MLflow hands them on: a table's columns, with its holes."""

import json
from functools import cache

import numpy as np
import pytest
from stepladder.core.errors import ModelError
from stepladder.core.package.layout import asked_rows
from stepladder.core.package.served import load_served


@pytest.fixture(scope="module")
def served(made):
    return cache(lambda name: load_served(made(name)))


@pytest.mark.parametrize("name", ["classify", "choice", "generate", "chat"])
def test_rows_asked_as_users_do_get_the_recorded_answers(served, made, name):
    recorded = [json.loads(line) for line in (made(name) / "recorded.jsonl").read_text().splitlines()]
    assert served(name).answer(asked_rows(made(name))) == [row["predicted"] for row in recorded]


def test_the_columns_of_each_task(made):
    assert set(asked_rows(made("classify"))[0]) == {"input"}
    assert set(asked_rows(made("choice"))[0]) == {"input", "options"}
    (turn,) = asked_rows(made("chat"))[0]["messages"]
    assert turn["role"] == "user", "the answer is not among the turns"


def test_options_come_as_arrays_and_decide(served):
    options = np.array(["my sea", "your sky"], dtype=object)
    (answer,) = served("choice").answer([{"input": "the car is red", "options": options}])
    assert answer in ("my sea", "your sky")


def test_a_table_of_questions_and_conversations_has_holes(served):
    asked = {"role": "user", "content": "the car is red"}
    rows = [
        {"input": "the car is red", "messages": float("nan")},
        {"input": float("nan"), "messages": [asked]},
        {"input": None, "messages": [asked, {"role": "assistant", "content": "red"}, asked]},
    ]
    question, turn, third_turn = served("chat").answer(rows)
    assert question == turn
    assert third_turn != turn


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("classify", {"input": " "}, "row 2: input is empty"),
        ("classify", {"input": None}, "row 2: input is null"),
        ("choice", {"input": "a", "options": None}, "row 2: the task choice expects at least two different"),
        (
            "choice",
            {"input": "a", "options": ["b", "b"]},
            r"at least two different options, found \('b', 'b'\)",
        ),
        (
            "chat",
            {"messages": [{"role": "assistant", "content": "a"}]},
            "row 2: message 1 is of the assistant",
        ),
    ],
)
def test_a_row_that_cannot_be_answered_is_named(served, made, name, row, said):
    with pytest.raises(ModelError, match=said):
        served(name).answer([asked_rows(made(name))[0], row])
