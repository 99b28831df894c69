"""Test rows that a train row nearly repeats are told with both rows; nothing is removed."""

import json

import numpy as np
import pytest
from datasketch import MinHash
from stepladder.core.data.near import NearDuplicates, jaccard, pieces_of, report_near_duplicates
from stepladder.core.errors import ConfigError
from stepladder.core.steps import read

TOPICS = ("bank", "river", "garden", "engine", "violin", "castle", "bakery", "harbour", "museum", "orchard")
LONG = "Please tell me everything that you know about the old {} in the middle of our town, and who built it"


def test_pieces_are_the_runs_of_five_bytes_of_the_words_alone():
    def number(piece: str) -> int:
        return int.from_bytes(piece.encode(), "little")

    assert pieces_of("Hello,  WORLD").tolist() == sorted(
        map(number, ["hello", "ello ", "llo w", "lo wo", "o wor", " worl", "world"])
    )
    assert pieces_of("no").tolist() == [number("no   ")]
    assert pieces_of("aaaaaaaaa").tolist() == [number("aaaaa")]
    assert np.array_equal(pieces_of("What is it?"), pieces_of("what is it"))


def test_the_index_of_jaccard_is_exact():
    one, other = pieces_of("abcdef"), pieces_of("bcdefg")
    assert jaccard(one, other) == 1 / 3
    assert jaccard(one, one) == 1
    assert jaccard(one, pieces_of("zzzzz")) == 0


@pytest.fixture
def rows(prepared):
    """Ten long train rows on as many topics; of the test rows two repeat one nearly, and one is like none."""
    train = [{"input": LONG.format(topic), "label": "ab"[n % 2]} for n, topic in enumerate(TOPICS)]
    test = [
        {"input": LONG.format("bank").upper() + "?!", "label": "a"},
        {"input": LONG.format("violins"), "label": "b"},
        {"input": "Where can I have my bicycle repaired on a sunday morning?", "label": "a"},
    ]
    return prepared(train, test, validation=[{"input": "Something else.", "label": "a"}])


def pairs(folder):
    return [json.loads(line) for line in (folder / "near_duplicates.jsonl").read_text().splitlines()]


def test_pairs_are_written_with_both_rows_and_how_near_they_are(rows):
    before = {split: rows.rows(split) for split in ("train", "test")}
    assert report_near_duplicates(rows.folder, 0.9) == NearDuplicates(0.9, test_rows=2, pairs=2)
    assert {split: rows.rows(split) for split in ("train", "test")} == before
    first, second = pairs(rows.folder)
    assert (first["similarity"], first["train"]["line"], first["test"]["line"]) == (1, 1, 1)
    assert first["test"]["input"] == LONG.format("bank").upper() + "?!"
    assert first["train"]["id"] == rows.rows("train")[0]["id"]
    assert (second["train"]["line"], second["test"]["line"]) == (5, 2)
    exact = jaccard(pieces_of(LONG.format("violin")), pieces_of(LONG.format("violins")))
    assert second["similarity"] == round(exact, 3)
    assert 0.9 < exact < 1


def test_at_a_lower_similarity_more_is_told_and_at_one_only_the_same_words(rows):
    assert report_near_duplicates(rows.folder, 1).pairs == 1
    everything = report_near_duplicates(rows.folder, 0.5)
    assert (everything.test_rows, everything.pairs) == (2, 2 * 10)


def test_the_hashes_estimate_what_is_compared():
    def hashed(text):
        made = MinHash(4096, hashfunc=int, scheme="affine64")
        made.update_batch(pieces_of(text).tolist())
        return made

    one, other = LONG.format("bank"), LONG.format("library")
    assert abs(hashed(one).jaccard(hashed(other)) - jaccard(pieces_of(one), pieces_of(other))) < 0.03


def test_the_step_says_how_many_and_keeps_them_beside_the_account(tmp_path, write_config):
    said: list[str] = []
    spec = write_config(near_duplicates=1)
    (tmp_path / "out").mkdir()
    result = read.read_rows(spec, tmp_path / "out", said.append)
    assert said == ["1 test row has a near-duplicate in train (similarity of at least 1)"]
    assert result["near_duplicates"] == {"similarity": 1, "test_rows": 1, "pairs": 1}
    assert len(pairs(tmp_path / "out")) == 1


def test_without_the_key_nothing_is_looked_for(tmp_path, write_config):
    (tmp_path / "out").mkdir()
    assert list(read.read_rows(write_config(), tmp_path / "out", print)) == ["data"]
    assert not (tmp_path / "out" / "near_duplicates.jsonl").exists()


@pytest.fixture
def write_config(tmp_path):
    """The spec of the step for ten rows of train, one of which the test row nearly repeats."""

    def write(**data):
        rows = [{"input": LONG.format(topic), "label": "ab"[n % 2]} for n, topic in enumerate(TOPICS)]
        near, other = {"input": LONG.format("Bank!"), "label": "a"}, {"input": "Another one.", "label": "a"}
        for split, some in {"train": rows, "validation": [other], "test": [near]}.items():
            (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, some)))
        places = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
        return {"config": {"task": "classify", "data": {**places, "max_bad": 0, **data}}}

    return write


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    from stepladder.core.config import load_config

    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "run.yaml").write_text(
        "{name: a, task: classify, methods: [zero_shot], "
        "data: {train: train.jsonl, test: test.jsonl, near_duplicates: 0.8}}"
    )
    assert load_config(tmp_path / "run.yaml").config.data.near_duplicates == 0.8
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"data\.near_duplicates: needs the package datasketch.*pip install"
    ):
        load_config(tmp_path / "run.yaml")
