import pytest
from stepladder.core.errors import RowFault
from stepladder.core.types import Example
from stepladder.plugins.tasks.choice import Choice

TASK = Choice()
LETTERED = {"label": ["A", "B", "C"], "text": ["bank", "river", "sea"]}


@pytest.mark.parametrize(
    ("options", "answer", "texts", "expected"),
    [
        (["bank", "river"], "river", ("bank", "river"), "river"),
        ([" bank ", "river"], "bank", ("bank", "river"), "bank"),
        (LETTERED, "B", ("bank", "river", "sea"), "river"),
        (LETTERED, "sea", ("bank", "river", "sea"), "sea"),
        ([{"label": "A", "text": "bank"}, {"label": "B", "text": "sea"}], "B", ("bank", "sea"), "sea"),
        ({"A": "bank", "B": "sea"}, "A", ("bank", "sea"), "bank"),
        ('["bank", "sea"]', "sea", ("bank", "sea"), "sea"),
        (["bank", "river", "sea"], 0, ("bank", "river", "sea"), "bank"),
        (["bank", "river", "sea"], "2", ("bank", "river", "sea"), "sea"),
        (["3", "2", "1"], "2", ("3", "2", "1"), "2"),
        (["3", "2", "1"], 3, ("3", "2", "1"), "3"),
        ({"label": ["1", "2"], "text": ["bank", "sea"]}, 2, ("bank", "sea"), "sea"),
    ],
)
def test_the_expected_answer_is_the_text_of_an_option(options, answer, texts, expected):
    example = TASK.example("r1", {"input": "Where?", "options": options, "answer": answer})
    assert example == Example("r1", "Where?", expected, options=texts)
    assert TASK.options(example, ()) == texts


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        (["bank", "river"], "rivers", "answer 'rivers' is none of the 2 options (did you mean 'river'?)"),
        (["bank", "river"], "B", "answer 'B' is none of the 2 options"),
        (LETTERED, "E", "answer 'E' is none of the 3 options"),
        (["bank", "bank"], "bank", "options has 'bank' twice"),
        (["bank", "bank "], "bank", "options has 'bank' twice"),
        (["bank"], "bank", "options has 1 entries, expected at least 2"),
        (["bank", 3], "bank", "options has a number in it, expected texts alone"),
        (["bank", ""], "bank", "an entry of options is empty"),
        ("bank", "bank", "options is text, expected a list of texts"),
        ("[" * 100_000, "bank", "options is text, expected a list of texts"),
        (None, "bank", "options is null"),
        (["bank", "river"], 2, "answer '2' is none of the 2 options, whose places are 0 to 1"),
        (["bank", "river"], -1, "answer '-1' is none of the 2 options"),
        (["bank", "river"], 1.0, "answer is a number, expected text or a place"),
        (["bank", "river"], True, "answer is true or false, expected text or a place"),
        (["2", "1", "0"], 2, "answer '2' is the place of one option and the text of another"),
        ([{"label": "A", "text": "bank"}, "sea"], "A", "options.label has null in it, expected texts alone"),
        ({"A": "bank", "B": 2}, "A", "options.text has a number in it, expected texts alone"),
        (["bank", "river"], None, "answer is null"),
        ({"label": ["A", "B"], "text": ["bank", "river", "sea"]}, "A", "options has 2 labels for 3 texts"),
        ({"text": ["bank", "river"]}, "bank", "options.label is null, expected a list of texts"),
        (
            {"label": ["A", "B"], "text": ["B", "bank"]},
            "B",
            "answer 'B' is the letter of one option and the text of another",
        ),
    ],
)
def test_faults(options, answer, reason):
    with pytest.raises(RowFault) as fault:
        TASK.example("", {"input": "Where?", "options": options, "answer": answer})
    assert str(fault.value) == reason


def test_questions():
    example = Example("", "Where?", "river", options=("bank", "river"))
    asked = {
        style: TASK.question(example, style, "Think.", ()) for style in ("instruction", "question", "cloze")
    }
    assert asked == {
        "instruction": "Think.\n\nAnswer with one of the options.\n\nWhere?\n- bank\n- river",
        "question": "Where?\n- bank\n- river\n\nThink.\n\nAnswer with one of the options.",
        "cloze": "Think.\n\nWhere?\nAnswer:",
    }
