"""When two answers count as the same."""

import pytest
from stepladder.core.errors import ModelError
from stepladder.core.package.replay import FEW_BITS, OTHER_COMPANY, SAME_ROWS, require_same
from stepladder.core.types import Prediction


def row(predicted, scores=None, likelihood=None):
    return {"id": "r", "predicted": predicted, "scores": scores, "negative_log_likelihood": likelihood}


def check(then, now, tolerated=SAME_ROWS):
    require_same([then], [now], tolerated)


def test_scores_may_lie_apart_by_rounding_alone():
    then = row("a", {"a": -1.0, "b": -200.0})
    check(then, Prediction("r", "a", {"a": -1.0009, "b": -200.015}))
    with pytest.raises(ModelError, match=r"the score of 'b' was -200\.0000, and is -200\.0300"):
        check(then, Prediction("r", "a", {"a": -1.0009, "b": -200.03}))
    check(then, Prediction("r", "a", {"a": -1.4, "b": -205.0}), FEW_BITS)


def test_another_choice_counts_unless_both_were_as_good():
    tie = row("a", {"a": -1.0, "b": -1.0005})
    check(tie, Prediction("r", "b", {"a": -1.0, "b": -1.0005}))
    with pytest.raises(ModelError, match="answered 'a', and now 'b'"):
        check(row("a", {"a": -1.0, "b": -1.1}), Prediction("r", "b", {"a": -1.0, "b": -1.1}))


def test_other_answers_to_decide_among():
    with pytest.raises(ModelError, match=r"decided among were \['a', 'b'\], and are \['a', 'c'\]"):
        check(row("a", {"a": 0.0, "b": -1.0}), Prediction("r", "a", {"a": 0.0, "c": -1.0}))


def test_a_number_may_be_rounded_otherwise():
    check(row("3.14159265"), Prediction("r", "3.14159301"))
    with pytest.raises(ModelError, match=r"answered '3\.14159265', and now '3\.15'"):
        check(row("3.14159265"), Prediction("r", "3.15"))


def test_likelihoods_of_texts():
    check(row("", likelihood=50.0), Prediction("r", "", negative_log_likelihood=50.004))
    with pytest.raises(ModelError, match=r"its likelihood \(nats\) was -50\.0000, and is -50\.1000"):
        check(row("", likelihood=50.0), Prediction("r", "", negative_log_likelihood=50.1))


@pytest.mark.parametrize(("tolerated", "allowed"), [(SAME_ROWS, 0), (OTHER_COMPANY, 1), (FEW_BITS, 4)])
def test_how_many_of_eight_written_answers_may_be_others(tolerated, allowed):
    rows = [row(f"text {number}") for number in range(8)]

    def said(differing):
        texts = ["another" if number < differing else f"text {number}" for number in range(8)]
        return [Prediction("r", text) for text in texts]

    require_same(rows, said(allowed), tolerated)
    with pytest.raises(ModelError, match=f"at {allowed + 1} of 8 rows"):
        require_same(rows, said(allowed + 1), tolerated)


def test_texts_written_in_few_bits_are_compared_by_their_first_words():
    then, now = row("the car is red now"), Prediction("r", "the car is blue")
    check(then, now, FEW_BITS)
    with pytest.raises(ModelError):
        check(then, now, SAME_ROWS)
    with pytest.raises(ModelError):
        check(then, Prediction("r", "the sea is red now"), FEW_BITS)


def test_the_numbers_of_a_vector_may_be_rounded_otherwise_and_must_be_as_many():
    check(row("[0,0.5,16]"), Prediction("r", "[0,0.50001,15.9999]"))
    for other in ("[0,0.51,16]", "[0,0.5]"):
        with pytest.raises(ModelError, match=r"answered '\[0,0\.5,16\]'"):
            check(row("[0,0.5,16]"), Prediction("r", other))
