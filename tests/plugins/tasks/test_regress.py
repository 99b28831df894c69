import pytest
from stepladder.core.errors import RowFault
from stepladder.core.types import Example
from stepladder.plugins.tasks.regress import Regress

TASK = Regress()


@pytest.mark.parametrize(
    ("target", "expected"),
    [(3, "3"), (3.0, "3"), (" 3.0 ", "3"), (-2.5, "-2.5"), ("1e3", "1000"), (0.1, "0.1"), (-0.0, "0")],
)
def test_a_target_is_a_number_whatever_the_file_made_of_it(target, expected):
    example = TASK.example("r1", {"input": "A cold soup.", "target": target})
    assert example == Example("r1", "A cold soup.", expected)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": "x"}, "target is missing"),
        ({"input": "x", "target": None}, "target is null"),
        ({"input": "x", "target": "high"}, "target is 'high', expected a number"),
        ({"input": "x", "target": ""}, "target is '', expected a number"),
        ({"input": "x", "target": "1,200"}, "target is '1,200', expected a number"),
        ({"input": "x", "target": True}, "target is true or false, expected a number"),
        ({"input": "x", "target": [1]}, "target is a list, expected a number"),
        ({"input": "x", "target": float("nan")}, "target is nan, expected a number between -1e+15 and 1e+15"),
        ({"input": "x", "target": 1e16}, "target is 1e+16, expected a number between -1e+15 and 1e+15"),
        ({"input": " ", "target": 1}, "input is empty"),
    ],
)
def test_faults(fields, reason):
    with pytest.raises(RowFault) as fault:
        TASK.example("", fields)
    assert str(fault.value) == reason


def test_a_whole_number_beyond_all_floats_is_a_fault():
    with pytest.raises(RowFault, match=r"target is '1000.*expected a number"):
        TASK.example("", {"input": "x", "target": 10**400})


def test_questions():
    example = Example("", "A cold soup.", "2")
    asked = {
        style: TASK.question(example, style, "How many stars?", ())
        for style in ("instruction", "question", "cloze")
    }
    assert asked == {
        "instruction": "How many stars?\n\nAnswer with a number.\n\nA cold soup.",
        "question": "A cold soup.\n\nHow many stars?\n\nAnswer with a number.",
        "cloze": "How many stars?\n\nA cold soup.\nAnswer:",
    }
