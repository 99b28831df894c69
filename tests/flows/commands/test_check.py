"""What `check` says of rows that it reads by a guess, and where."""

import json
from pathlib import Path

import pytest
import yaml
from stepladder.flows.commands.check import check

GUESSES = [
    "data.train: columns separated by a semicolon: instruction, input, output",
    "data.train: read as Alpaca rows: input is instruction and input, response is output",
    "data.test: read as Alpaca rows: input is instruction and input, response is output",
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = [(f"Say {number}.", "", str(number)) for number in range(20)]
    lines = ["instruction;input;output", *(";".join(row) for row in rows)]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    test = {"instruction": "Say 30.", "input": "", "output": "30"}
    (tmp_path / "test.jsonl").write_text(json.dumps(test))
    (tmp_path / "base").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "base" / name).write_text("{}")
    values = {
        "name": "says",
        "base": "base",
        "task": "generate",
        "data": {"train": "train.csv", "test": "test.jsonl"},
        "methods": ["zero_shot"],
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_guesses_are_said_once_before_the_settings(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(config)
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == GUESSES
    assert said[3].startswith(f"ok: 1 candidate, base {config.parent / 'base'}, rows train ")


def test_json_has_the_guesses_and_nothing_stands_beside_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(config, as_json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["guesses"] == GUESSES
    assert shown.err == ""
