"""The step that prepares what is replayed: from a file, without weights, or written by the base itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stepladder.core.errors import DataError
from stepladder.core.steps import replay
from stepladder.core.steps.replay import ROWS
from stepladder.core.training.replay import load_rows
from stepladder.core.types import Encoded


@pytest.fixture
def prepare(base_folder: Path, tmp_path: Path, monkeypatch: Any, on_the_cpu: None) -> Any:
    """`prepare(source)`: the rows that the step leaves."""

    def run(source: str) -> list[Encoded]:
        ref = {"name": "tiny-llama", "path": str(base_folder), "fingerprint": "0" * 64}
        spec = {"config": {"replay": {"source": source, "share": 0.1}}, "base": ref, "needs": {}}
        told = replay.run(spec, tmp_path)
        rows = load_rows(tmp_path / ROWS)
        assert told == {"rows": len(rows), "tokens": sum(sum(row.trained) for row in rows)}
        return rows

    return run


def write(path: Path, *texts: str) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def test_each_text_of_a_file_is_a_row_trained_but_for_its_first_token(prepare, tmp_path, word_tokenizer):
    rows = prepare(write(tmp_path / "general.jsonl", "the sky is blue", "a car"))
    ids = word_tokenizer.convert_tokens_to_ids
    assert rows[0] == Encoded(
        ids(["the", " sky", " is", " blue", "<|im_end|>"]), [False, True, True, True, True]
    )
    assert [len(row.tokens) for row in rows] == [5, 3]


def test_a_long_text_becomes_several_rows_and_loses_no_token(prepare, tmp_path):
    (row,) = prepare(write(tmp_path / "short.jsonl", "the" + " sky" * 100))
    rows = prepare(write(tmp_path / "long.jsonl", "the" + " sky" * 300))
    assert [len(each.tokens) for each in rows] == [128, 128, 48]
    assert (sum(row.trained), sum(sum(each.trained) for each in rows)) == (101, 301)


def test_no_weights_are_needed_for_a_file(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "open_base", lambda spec: pytest.fail("the base is loaded"))
    assert prepare(write(tmp_path / "general.jsonl", "the sky"))


def test_a_plain_file_is_one_text(prepare, tmp_path):
    (tmp_path / "general.txt").write_text("the sky is blue")
    assert [len(row.tokens) for row in prepare(str(tmp_path / "general.txt"))] == [5]


def test_texts_that_cannot_be_trained_are_left_out_and_told(prepare, tmp_path, capsys):
    rows = prepare(write(tmp_path / "general.jsonl", " ", "the sky", "a <|im_end|> b"))
    assert [len(row.tokens) for row in rows] == [3]
    assert (
        "2 of 3 texts are left out (the first: nothing to train: the text is empty)"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("texts", [(), ("", " \n")])
def test_text_of_which_nothing_can_be_trained_is_refused(prepare, tmp_path, texts):
    with pytest.raises(
        DataError, match=rf"replay.source: .*general.jsonl: no token .* {len(texts)} texts.*self"
    ):
        prepare(write(tmp_path / "general.jsonl", *texts))


def test_lines_without_a_text_are_refused(prepare, tmp_path):
    (tmp_path / "general.jsonl").write_text('{"words": "the sky"}\n')
    with pytest.raises(DataError, match=r'replay.source: .*expected UTF-8 lines such as \{"text"'):
        prepare(str(tmp_path / "general.jsonl"))
    (tmp_path / "general.jsonl").write_text('{"text": 5}\n')
    with pytest.raises(DataError, match="found TypeError"):
        prepare(str(tmp_path / "general.jsonl"))


def test_the_base_writes_its_own_and_the_same_each_time(prepare, base, monkeypatch):
    monkeypatch.setattr(replay, "OWN_TEXTS", 16)
    rows = prepare("self")
    assert prepare("self") == rows
    assert 12 <= len(rows) <= 16
    assert len({tuple(row.tokens) for row in rows}) > 10
    special = set(base.renderer.tokenizer.all_special_ids)
    for row in rows:
        assert row.tokens[0] not in special
        assert 2 <= len(row.tokens) <= 128
        assert row.trained == [False] + [True] * (len(row.tokens) - 1)
    values = base.engine.log_probabilities(rows)
    mean = -sum(map(sum, values)) / sum(map(len, values))
    assert mean < 4.4, "less surprising to it than tokens at random (4.6 nats)"
