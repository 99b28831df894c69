import pytest
from stepladder.core.data.numbers import number_as_text, number_in, vector_as_text, vector_in


@pytest.mark.parametrize(
    "text, number",
    [
        ("4", 4.0),
        ("The answer is 4.5.", 4.5),
        ("-3", -3.0),
        ("\u22123.5 degrees", -3.5),
        ("+2", 2.0),
        (".5", 0.5),
        ("about -.25", -0.25),
        ("$1,200.50", 1200.5),
        ("12,34", 12.0),
        ("1,2345", 1.0),
        ("1e3", 1000.0),
        ("2E-2 m", 0.02),
        ("3-4 days", 3.0),
        ("covid-19", 19.0),
        ("4 out of 5", 4.0),
        ("75%", 75.0),
        ("", None),
        ("four", None),
        ("e5", 5.0),
        ("1e999", None),
        ("9" * 40, None),
        ("-", None),
    ],
)
def test_the_first_number_of_a_text(text, number):
    assert number_in(text) == number


@pytest.mark.parametrize(
    "number, text", [(4.0, "4"), (-0.0, "0"), (0.1, "0.1"), (1e15, "1000000000000000"), (-2.5, "-2.5")]
)
def test_a_number_as_text_reads_back_as_itself(number, text):
    assert number_as_text(number) == text
    assert number_in(text) == number


def test_a_vector_as_text_reads_back_as_itself():
    assert vector_as_text([0.0, 5.0, 0.1, -2.5]) == "[0,5,0.1,-2.5]"
    assert vector_in("[0,5,0.1,-2.5]") == [0.0, 5.0, 0.1, -2.5]


@pytest.mark.parametrize("text", ["", "[]", "5", "[1,true]", "[1, NaN]", "[1, 1e16]", '["1"]', "[[1]]", "[1"])
def test_what_is_no_vector(text):
    assert vector_in(text) == []
