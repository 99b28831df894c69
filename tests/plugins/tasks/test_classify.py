import pytest
from stepladder.core.errors import DataError, RowFault
from stepladder.core.types import Example
from stepladder.plugins.tasks.classify import Classify

TASK = Classify()


@pytest.mark.parametrize(
    ("label", "expected"),
    [("refund", "refund"), ("  refund\n", "refund"), (3, "3"), (0, "0"), (True, "True"), (False, "False")],
)
def test_a_label_is_text_or_becomes_it(label, expected):
    example = TASK.example("r1", {"input": " Where is it? ", "label": label})
    assert example == Example("r1", " Where is it? ", expected)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"label": "a"}, "input is missing"),
        ({"input": None, "label": "a"}, "input is null"),
        ({"input": 5, "label": "a"}, "input is a number, expected text"),
        ({"input": True, "label": "a"}, "input is true or false, expected text"),
        ({"input": ["x"], "label": "a"}, "input is a list, expected text"),
        ({"input": " \t\n\u00a0", "label": "a"}, "input is empty"),
        ({"input": "x"}, "label is missing"),
        ({"input": "x", "label": None}, "label is null"),
        ({"input": "x", "label": ""}, "label is empty"),
        ({"input": "x", "label": " "}, "label is empty"),
        ({"input": "x", "label": 1.5}, "label is a number, expected text or a whole number"),
        ({"input": "x", "label": {"a": 1}}, "label is an object, expected text or a whole number"),
    ],
)
def test_faults(fields, reason):
    with pytest.raises(RowFault) as fault:
        TASK.example("", fields)
    assert str(fault.value) == reason


def test_labels_are_sorted_and_at_least_two():
    assert TASK.labels(iter(["b", "a", "b"])) == ("a", "b")
    with pytest.raises(DataError, match="at least 2 labels in the training rows, found only 'b'"):
        TASK.labels(iter(["b", "b"]))


def test_questions():
    example, labels = Example("", "Where is it?", "a"), ("a", "b")
    asked = {
        style: TASK.question(example, style, "Which one?", labels)
        for style in ("instruction", "question", "cloze")
    }
    assert asked == {
        "instruction": "Which one?\n\nAnswer with one of: a, b.\n\nWhere is it?",
        "question": "Where is it?\n\nWhich one?\n\nAnswer with one of: a, b.",
        "cloze": "Which one?\n\nWhere is it?\nAnswer:",
    }
    assert TASK.question(example, "instruction", "", labels) == "Answer with one of: a, b.\n\nWhere is it?"
