"""Records, their file, and the figures over them."""

from __future__ import annotations

import json

import pytest
from stepladder.core.errors import StepError
from stepladder.core.evaluation.score import evaluate, read_predictions, records, write_predictions
from stepladder.core.types import Example, Prediction, Record
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.metrics.macro_f1 import MacroF1

EXAMPLES = [Example("a", "où?", "yes"), Example("b", "line\u2028break", "no")]
PREDICTIONS = [
    Prediction("a", "yes", scores={"yes": -0.1, "no": -2.5}),
    Prediction("b", "maybe", negative_log_likelihood=3.25, tokens=7),
]


def test_records_join_examples_and_predictions():
    assert records(EXAMPLES, PREDICTIONS) == [
        Record("a", "où?", "yes", "yes", {"yes": -0.1, "no": -2.5}),
        Record("b", "line\u2028break", "no", "maybe", None, 3.25, 7),
    ]


def test_predictions_that_do_not_match_are_refused():
    with pytest.raises(StepError, match="each of 2 rows, got 1"):
        records(EXAMPLES, PREDICTIONS[:1])
    with pytest.raises(StepError, match="row 'a', got that of row 'b'"):
        records(EXAMPLES, PREDICTIONS[::-1])


def test_a_predictions_file_has_a_line_a_record_and_reads_back(tmp_path):
    rows = records(EXAMPLES, PREDICTIONS)
    write_predictions(tmp_path / "predictions.jsonl", rows, Accuracy())
    lines = [
        json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    assert [line["score"] for line in lines] == [1.0, 0.0]
    assert list(lines[0]) == [
        "id",
        "input",
        "expected",
        "predicted",
        "scores",
        "negative_log_likelihood",
        "tokens",
        "figures",
        "slices",
        "task",
        "written_tokens",
        "score",
    ]
    assert read_predictions(tmp_path / "predictions.jsonl") == rows


def test_the_score_is_null_where_the_metric_has_no_row_scores(tmp_path):
    write_predictions(tmp_path / "p.jsonl", records(EXAMPLES, PREDICTIONS), MacroF1())
    assert '"score": null' in (tmp_path / "p.jsonl").read_text("utf-8")


def test_figures_by_name_and_none_without_rows():
    rows = records(EXAMPLES, PREDICTIONS)
    figures = evaluate(rows, [Accuracy(), MacroF1()])
    assert {name: figure.value for name, figure in figures.items()} == {
        "accuracy": 0.5,
        "macro_f1": pytest.approx(1 / 3),
    }
    assert evaluate([], [Accuracy()]) == {}
