"""What a package holds, and that it is made only of a candidate that answers as it was evaluated."""

import json
from dataclasses import replace
from pathlib import Path

import climbing
import numpy as np
import pytest
from stepladder.core.data.identity import KEYS, keys_of
from stepladder.core.errors import ModelError
from stepladder.core.package.layout import read_entry, read_lineage, read_test, read_train_keys
from stepladder.core.package.pack import pack, spread
from stepladder.core.types import Example, Message


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def input_key(example):
    return int(np.frombuffer(keys_of(example), KEYS)["input"][0])


def test_the_files_of_a_package(made):
    folder = made("classify")
    artifact = ("adapter.json", "manifest.json", "prompt.json", "weights.safetensors")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        *(f"artifact/{name}" for name in artifact),
        *("served.json", "candidate.json", "lineage.json", "recorded.jsonl", "manifest.json"),
        *("evidence/test.jsonl", "evidence/predictions.jsonl", "evidence/train.safetensors"),
    }
    named = json.loads((folder / "manifest.json").read_text())
    assert "artifact/manifest.json" in named
    assert "artifact/weights.safetensors" not in named, "the artifact's own manifest names it"


def test_what_serving_must_find_again(made, base_folder):
    served = json.loads((made("classify") / "served.json").read_text())
    assert (served["base"]["name"], served["base"]["revision"]) == (str(base_folder), None)
    assert served["labels"] == ["blue", "green", "red"]
    assert served["stop_ids"] == [3]
    assert (served["decoding"], served["dtype"]) == (None, "float32")
    assert len(served["template"]) == 64
    generate = json.loads((made("generate") / "served.json").read_text())
    assert generate["decoding"] == {"decoder": "greedy", "settings": {}, "max_new_tokens": 4}
    drawn = json.loads((made("drawn") / "served.json").read_text())["decoding"]
    assert drawn["settings"] == {"temperature": 1.0, "top_k": None, "top_p": 0.95, "seed": 0}


def test_the_evidence_is_every_test_row_with_its_answer_and_the_keys_of_the_rows_it_was_made_by(made):
    folder = made("classify")
    examples = read_test(folder)
    rows = climbing.things()
    assert sorted((each.input, each.expected) for each in examples) == sorted(rows[-16:])
    predictions = lines(folder / "evidence" / "predictions.jsonl")
    assert [each["id"] for each in predictions] == [each.id for each in examples]
    keys = read_train_keys(folder)
    train = {input_key(Example("", text, "")) for text, _ in rows[:-16]}
    assert keys.dtype == np.uint64
    assert set(keys.tolist()) == train, "those that were held out for validation are among them"
    assert list(keys) == sorted(keys)
    assert not {input_key(each) for each in examples} & set(keys.tolist())


def test_options_and_turns_of_test_rows_are_kept(made):
    assert {each.options for each in read_test(made("choice"))} >= {("red", "dull"), ("dull", "blue")}
    chat = read_test(made("chat"))[0]
    assert chat.messages == (
        Message("user", chat.input.removeprefix("user: ")),
        Message("assistant", chat.expected),
    )


def test_some_rows_are_recorded_with_the_answers_of_the_evaluation(made):
    folder = made("classify")
    recorded = lines(folder / "recorded.jsonl")
    evaluated = {each["id"]: each for each in lines(folder / "evidence" / "predictions.jsonl")}
    assert len(recorded) == 8
    for row in recorded:
        assert row["predicted"] == evaluated[row["id"]]["predicted"]
        assert row["scores"] == pytest.approx(evaluated[row["id"]]["scores"], abs=1e-4)


def test_the_lineage_of_a_package(made, base_folder):
    lineage = read_lineage(made("classify"))
    assert lineage["config"]["base"] == str(base_folder)
    train = lineage["data"]["train"]
    assert (train["read"], train["read"] - train["kept"]) == (32, train["held_out"])
    assert lineage["data_sha256"] == {"train": "1" * 64, "test": "2" * 64}
    assert set(lineage["plugins"]) >= {
        *("method:lora", "task:classify", "decoder:greedy", "metric:accuracy", "source:jsonl"),
    }
    assert lineage["plugins"]["method:lora"].startswith("stepladder ")
    assert set(lineage["versions"]) >= {"python", "stepladder", "torch", "transformers"}
    assert lineage["licenses"] == {"base": None, "data": "CC-BY-4.0"}
    assert lineage["commit"] is None
    entry = read_entry(made("classify"))
    assert (entry["id"], entry["settings"]["rank"]) == ("lora", 2)


def evaluated_otherwise(contents, folder, change):
    """The same contents, whose evaluation has left other predictions."""
    rows = [{**row, **change(row)} for row in lines(Path(contents.entry["predictions"]))]
    folder.mkdir()
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(contents, entry={**contents.entry, "predictions": str(folder / "predictions.jsonl")})


def test_a_candidate_that_answers_otherwise_than_evaluated_is_not_packed(own_machine, base_folder, tmp_path):
    run = climbing.climb(tmp_path / "run", base_folder, climbing.classify_rows(), {})
    contents = run.contents()

    def worse(row):
        return {"scores": {label: score - 0.1 for label, score in row["scores"].items()}}

    (tmp_path / "package").mkdir()
    with pytest.raises(ModelError, match=r"at 8 of 8 rows: row \w+: the score of '\w+' was .* and is "):
        pack(evaluated_otherwise(contents, tmp_path / "other", worse), tmp_path / "package")


@pytest.mark.parametrize(
    ("items", "count", "chosen"),
    [("abcdefghi", 3, "aei"), ("abc", 8, "abc"), ("a", 8, "a"), ("abcd", 1, "a"), ("abcdef", 4, "acdf")],
)
def test_spread_takes_the_first_the_last_and_some_between(items, count, chosen):
    assert "".join(spread(list(items), count)) == chosen
