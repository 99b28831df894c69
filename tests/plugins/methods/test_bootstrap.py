"""Rows that a candidate labels: which are taken, counted and kept out; and that what is fitted is served."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from stepladder.core.data.unanswered import inputs_of
from stepladder.core.errors import DataError, StepError
from stepladder.core.model.adapter import build_method
from stepladder.core.model.added import with_rows
from stepladder.core.training.context import FitContext
from stepladder.core.types import Encoded, Example, Prediction
from stepladder.plugins.methods.bootstrap import labelled, sure

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

import building_on

TEST = [Example("test-0", "my paint is very red", "red")]


def said(answer, **shares):
    return Prediction("row", answer, {name: math.log(share) + 3 for name, share in shares.items()})


def test_an_answer_is_sure_from_the_confidence_on():
    predictions = [said("a", a=0.9, b=0.1), said("b", a=0.2, b=0.8), said("a", a=0.7, b=0.3)]
    assert sure(predictions, 0.75) == [True, True, False]
    assert sure(predictions, 0.0) == [True, True, True]
    assert sure(predictions[:1], 1.0) == [False]


def test_answers_without_scores_are_refused():
    with pytest.raises(StepError, match="gives no scores, so nothing says how sure it is"):
        sure([Prediction("row", "a")], 0.5)


def test_kept_rows_get_what_was_said_of_them():
    rows = [Example("0", "x", "?"), Example("1", "y", "?")]
    found = labelled(rows, [said("a", a=0.9, b=0.1), said("b", a=0.1, b=0.9)], [False, True])
    assert found == [Example("1", "y", "b")]


@pytest.mark.parametrize("reader", ["base", "encoder"])
def test_added_rows_stand_behind_the_run_s_own_with_their_tokens(reader, base, toy, load_encoder):
    more = [Example("new", "my car is green", "red")]
    data = with_rows(toy, more, base if reader == "base" else load_encoder())
    assert len(data.train) == len(toy.train) + 1
    assert data.train.examples() == [*toy.train.examples(), *more]
    last = len(toy.train)
    assert data.train.example(last) == more[0]
    assert data.train.encoded(0) == toy.train.encoded(0)
    assert isinstance(data.train.encoded(last), Encoded)
    assert any(data.train.encoded(last).trained) == (reader == "base")
    assert data.validation is toy.validation


@pytest.fixture
def bootstrapped(load, base, toy, registry, tmp_path):
    """Fits a probe on rows that a probe has labelled; returns it and its context."""
    probe = building_on.fit("linear_probe", "linear_probe", {"layers": 1}, load(), toy, tmp_path, registry)
    lent = building_on.lend({"linear_probe": probe}, toy, TEST, tmp_path, registry)

    def fit(rows, **settings):
        place = tmp_path / "rows.jsonl"
        place.write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = {
            "unlabelled": place,
            "by": "linear_probe",
            "then": {"linear_probe": {"layers": 2}},
            **settings,
        }
        context = FitContext(tmp_path, lent=lent)
        return build_method("bootstrap", asked, registry).fit(base, toy, context), context

    return fit


def rows(toy):
    """Three new inputs, and one of each kind that must not be trained on."""
    known = (toy.train.example(0), toy.validation.example(0), TEST[0])
    new = ["my car is green", "your house was green", "the door is bright green"]
    texts = [*new, new[0], *(example.input for example in known)]
    return [*({"text": text} for text in texts), {"colour": "no text"}]


def test_every_unlabelled_row_is_accounted_for_and_none_that_judges_is_trained_on(bootstrapped, toy):
    _, context = bootstrapped(rows(toy), confidence=0.0)
    counts = {"read": 8, "unusable": 1, "repeated": 2, "leaked": 2}
    assert counts.items() <= context.notes.items()
    assert (context.notes["labelled"], context.notes["below_confidence"]) == (3, 0)
    assert [row.input for row in context.read_inputs] == [row["text"] for row in rows(toy)[:3]]
    judging = set(inputs_of([*toy.validation.examples(), *TEST]).tolist())
    assert not judging & set(inputs_of(context.read_inputs).tolist())


def test_what_is_fitted_is_the_method_it_hands_on_to(bootstrapped, toy):
    adapted, context = bootstrapped(rows(toy), confidence=0.0)
    assert type(adapted).__name__ == "Probe"
    assert context.notes["validation_rows_as_sure"] == len(toy.validation)
    right = sum(
        said.predicted == row.expected
        for said, row in zip(
            adapted.predict(toy.validation.examples()), toy.validation.examples(), strict=True
        )
    )
    assert right > len(toy.validation) / 2


def test_labels_that_nobody_is_sure_of_leave_the_rows_as_they_are(
    bootstrapped, toy, registry, base, tmp_path
):
    adapted, context = bootstrapped(rows(toy), confidence=1.0)
    assert context.notes["labelled"] == 0 and context.notes["below_confidence"] == 3
    alone = build_method("linear_probe", {"layers": 2}, registry).fit(base, toy, FitContext(tmp_path))
    examples = toy.validation.examples()
    assert adapted.predict(examples) == alone.predict(examples)


def test_the_answers_may_stand_in_the_file_and_are_not_read(bootstrapped, toy):
    told = [{"text": "my car is green", "colour": "a label of nobody's"}]
    _, context = bootstrapped(told, confidence=0.0)
    assert context.read_inputs[0].expected == "?"


def test_a_file_without_a_usable_row_is_refused(bootstrapped):
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        bootstrapped([{"colour": "red"}])
