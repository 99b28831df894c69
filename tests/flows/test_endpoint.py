"""A run on an endpoint by the real command: prompts put to a real server, judged, registered, and served."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from commands import Ended, in_turn

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "model" / "helpers"))
from stub_endpoint import Reply, says, serving

CONFIG = """
name: colours
base: {base}
endpoint: {{key: STUB_KEY, retries: 0, parallel: 2}}
task: classify
data:
  train: train.jsonl
  test: test.jsonl
  columns: {{input: text, label: colour}}
  instruction: which colour ?
methods:
  - zero_shot
  - few_shot: {{shots: 4}}
register: colours
"""


def rule(body):
    """The colour that the last turn names; without demonstrations the stub knows no red."""
    last, shown = body["messages"][-1]["content"], len(body["messages"]) > 1
    red = last.endswith("red") and shown
    return says("It is red." if red else "Blue", prompt_tokens=10, completion_tokens=2)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    texts = [f"{place} is {colour}" for place in range(32) for colour in ("red", "blue")]
    rows = [{"text": text, "colour": text.split()[-1]} for text in texts]
    for name, part in (("train", rows[:48]), ("test", rows[48:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return tmp_path


def stepladder(folder: Path, *commands: list[str], **environment: str) -> list[Ended]:
    return [*in_turn(dict(enumerate(commands)), folder, **environment).values()]


def test_prompts_climb_on_an_endpoint_and_the_better_one_is_registered(project):
    model = "models:/colours/1"
    with serving(rule) as stub:
        (project / "run.yaml").write_text(CONFIG.format(base=stub.base()))
        checked, ran, asked_before, verified, exported = stepladder(
            project,
            ["check", "run.yaml"],
            ["run", "run.yaml", "--engine", "inline"],
            ["run", "run.yaml", "--engine", "inline"],
            ["verify", model],
            ["export", model, "out", "--format", "merged"],
            STUB_KEY="sk-secret",
        )
    assert checked.code == 0, checked.said
    assert ran.code == 0, ran.said
    assert asked_before.code == 0, asked_before.said
    assert set(stub.keys) == {"Bearer sk-secret"}
    (folder,) = (path.parent for path in project.glob("runs/colours-*/result.json"))
    result = json.loads((folder / "result.json").read_text())
    zero, few = result["candidates"]
    assert (zero["metrics"]["accuracy"]["value"], few["metrics"]["accuracy"]["value"]) == (0.5, 1.0)
    assert [each["cost"]["trained_tokens"] for each in (zero, few)] == [0, 0]
    assert result["choice"]["id"] == "few_shot"
    assert result["registered"] == {"name": "colours", "version": "1", "alias": "challenger"}
    predictions = [json.loads(line) for line in Path(few["predictions"]).read_text().splitlines()]
    assert {each["predicted"] for each in predictions} == {"red", "blue"}
    assert verified.code == 0, verified.said
    assert "by its address alone" in verified.said and "recorded rows answered as then" in verified.said
    assert exported.code == 2 and "whose weights are not here" in exported.said
    everything = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in everything if b"sk-secret" in path.read_bytes()], "a key is never kept"


def test_a_candidate_that_is_not_answered_is_a_failed_row(project):
    def no_demonstrations(body):
        return rule(body) if len(body["messages"]) == 1 else Reply(b"too long", 500)

    with serving(no_demonstrations) as stub:
        (project / "run.yaml").write_text(CONFIG.format(base=stub.base()).replace("register: colours", ""))
        keyless, ran, broken = stepladder(
            project,
            ["run", "run.yaml", "--engine", "inline", "--set", "endpoint.key=ANOTHER_KEY"],
            ["run", "run.yaml", "--engine", "inline"],
            ["run", "run.yaml", "--engine", "inline", "--set", "methods=[few_shot]"],
            STUB_KEY="sk-secret",
        )
    assert keyless.code == 2 and "no variable ANOTHER_KEY" in keyless.said
    assert ran.code == 0, ran.said
    results = [json.loads(path.read_text()) for path in project.glob("runs/colours-*/result.json")]
    (entries,) = (result["candidates"] for result in results if len(result["candidates"]) == 2)
    assert [each["status"] for each in entries] == ["ok", "failed"]
    assert "expected an answer, found status 500: too long, at each of 1 tries" in entries[1]["error"]
    assert broken.code == 1, "where no candidate is answered, the run has failed"
