"""Public data sets as they are, with what is known of them."""

import os
from pathlib import Path

import pytest
from stepladder.core.data.account import as_json
from stepladder.core.data.prepare import DataPlan, prepare
from stepladder.core.data.store import load_schema, load_split
from stepladder.plugins.sources.jsonl import JsonLines
from stepladder.plugins.tasks.choice import Choice
from stepladder.plugins.tasks.classify import Classify
from stepladder.plugins.tasks.generate import Generate
from stepladder.plugins.tasks.text import Text

FOLDER = os.environ.get("STEPLADDER_TEST_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="STEPLADDER_TEST_DATA is not set")


def read(tmp_path, name, task, **data):
    files = {split: str(Path(FOLDER) / name / f"{split}.jsonl") for split in ("train", "test")}
    config = {"validation": 0.2, "max_bad": 0.05} | files | data
    return as_json(prepare(DataPlan.of(config, task, lambda _: JsonLines), tmp_path, print))


def test_intents_keep_their_share(tmp_path):
    columns = {"input": "text", "label": "intent"}
    account = read(tmp_path, "clinc150", Classify(), columns=columns, limit={"train": 600, "test": 300})
    assert [account[split]["kept"] for split in ("train", "validation", "test")] == [600, 150, 300]
    assert account["train"]["read"] == 15_000
    labels = [example.expected for example in load_split(tmp_path / "train").examples()]
    assert len(load_schema(tmp_path, {"classify": Classify}.__getitem__).labels) == 150
    assert {labels.count(label) for label in set(labels)} <= {3, 4, 5}


def test_questions_whose_options_repeat_are_faulty(tmp_path):
    columns = {"input": "question", "options": "choices", "answer": "answerKey"}
    account = read(tmp_path, "commonsense_qa", Choice(), columns=columns)
    assert (account["train"]["read"], account["train"]["quarantined"]) == (900, 18)
    assert (account["test"]["read"], account["test"]["quarantined"]) == (300, 6)


@pytest.mark.parametrize(
    ("name", "task", "data", "rows"),
    [
        ("gsm8k", Generate(), {"columns": {"input": "question", "response": "answer"}}, 2000),
        (
            "alpaca",
            Generate(),
            {"prompt": "{{ instruction }}{% if input %}\n{{ input }}{% endif %}", "response": "{{ output }}"},
            5000,
        ),
        ("chat", Generate(), {}, 500),
        ("wikipedia_text", Text(), {}, 256),
    ],
)
def test_all_rows_are_read(tmp_path, name, task, data, rows):
    train = read(tmp_path, name, task, **data)["train"]
    assert (train["read"], train["quarantined"], train["leaked"]) == (rows, 0, 0)
    assert train["kept"] + train["held_out"] == rows
    assert 0.15 < train["held_out"] / rows < 0.25
