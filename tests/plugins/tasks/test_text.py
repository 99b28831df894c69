import pytest
from stepladder.core.errors import RowFault
from stepladder.core.types import Example
from stepladder.plugins.tasks.text import Text


def test_a_text_is_its_own_answer_and_nothing_is_asked():
    example = Text().example("r1", {"text": "Once upon a time"})
    assert example == Example("r1", "Once upon a time", "Once upon a time")
    assert Text().question(example, "instruction", "Read.", ()) == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "text is missing"),
        ({"text": "\n"}, "text is empty"),
        ({"text": 1}, "text is a number, expected text"),
    ],
)
def test_faults(fields, reason):
    with pytest.raises(RowFault) as fault:
        Text().example("", fields)
    assert str(fault.value) == reason
