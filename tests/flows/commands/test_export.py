"""The command `export`, in a process of its own, on what a real run left: its folders and its registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from colours import COLOURS
from commands import Ended, in_turn

METHODS = """
methods:
  - lora: {{rank: 2, epochs: 1}}
  - prefix: {{length: 6, epochs: 1}}
retain: {{text: retain.txt}}
register: colours
"""
LONG = "methods=[{soft_prompt: {length: 600}}]"


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder) -> Path:
    folder = tmp_path_factory.mktemp("project")
    rows = [
        {"text": f"{owner} {thing} {verb} {colour}", "colour": colour}
        for owner in ("my", "your", "the")
        for thing in ("car", "house", "door", "paint")
        for verb in ("is", "was")
        for colour in ("red", "blue")
    ]
    for name, part in (("train", rows[:36]), ("test", rows[36:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "retain.txt").write_text("the car is very red . my house was quite blue ? " * 400)
    (folder / "colours.yaml").write_text((COLOURS + METHODS).format(base=base_folder))
    return folder


def stepladder(project: Path, commands: dict[str, list[str]]) -> dict[str, Ended]:
    return in_turn(commands, project, CUDA_VISIBLE_DEVICES="")


@pytest.fixture(scope="module")
def result(project: Path) -> dict[str, Any]:
    (ended,) = stepladder(project, {"run": ["run", "colours.yaml", "--engine", "inline"]}).values()
    assert ended.code == 0, ended
    (path,) = project.glob("runs/colours-*/result.json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


@pytest.fixture(scope="module")
def ended(project: Path, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (project / "empty").mkdir()

    def export(model: str, folder: str, form: str = "peft") -> list[str]:
        return ["export", model, folder, "--format", form]

    commands = {
        "prefix": export(artifact(result, "prefix"), "out/prefix"),
        "merged": export(artifact(result, "lora"), "empty", "merged"),
        "version": export("models:/colours@challenger", "version"),
        "no such form": export(artifact(result, "prefix"), "nothing", "merged"),
        "not empty": export("models:/colours@challenger", "."),
        "a file": export("models:/colours@challenger", "colours.yaml"),
        "no such model": export("runs/nowhere", "new"),
        "no format": ["export", "runs/nowhere", "new"],
        "too long": ["check", "colours.yaml", "--set", LONG],
    }
    return stepladder(project, commands)


def artifact(result: dict[str, Any], method: str) -> str:
    (entry,) = (each for each in result["candidates"] if each["method"] == method)
    return entry["artifact"]


def test_a_prefix_goes_through_a_run_and_what_it_forgets_is_measured(result):
    (prefix,) = (each for each in result["candidates"] if each["method"] == "prefix")
    assert prefix["status"] == "ok"
    retention = prefix["retention"]
    assert retention["perplexity_after"] != retention["perplexity_before"], (
        "as served it is behind the prefix"
    )


def test_an_adapter_for_peft(ended, project):
    assert ended["prefix"].code == 0, ended["prefix"]
    assert ended["prefix"].heavy == []
    said = ended["prefix"].out
    assert "prefix as peft: out/prefix (" in said
    assert "vLLM would not take it: it loads LORA adapters alone, and this is PREFIX_TUNING" in said
    assert "loaded by peft" in said
    assert "its logits differ from the candidate's by at most" in said
    names = {path.name for path in (project / "out" / "prefix").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_merged_model(ended, project, base_folder):
    assert ended["merged"].code == 0, ended["merged"]
    assert "loaded by transformers" in ended["merged"].out
    found, expected = (
        {path.name for path in folder.iterdir()} for folder in (project / "empty", base_folder)
    )
    assert found == expected


def test_a_registered_version(ended, project, result):
    assert ended["version"].code == 0, ended["version"]
    config = json.loads((project / "version" / "adapter_config.json").read_text())
    assert config["peft_type"] == {"lora": "LORA", "prefix": "PREFIX_TUNING"}[result["choice"]["id"]]


# --- bad input ---


@pytest.mark.parametrize(
    "name, message",
    [
        ("no such form", "prefix has no form for --format merged: it has peft"),
        ("not empty", "expected a new or an empty folder, found"),
        ("a file", "expected a new or an empty folder, found a file"),
        ("no such model", "expected models:/NAME@alias"),
        ("too long", "methods.soft_prompt: length: 600 learned positions leave no room"),
    ],
)
def test_wrong_input_is_told(ended, name: str, message: str):
    assert ended[name].code == 2
    assert message in ended[name].err


def test_the_format_must_be_said(ended):
    assert ended["no format"].code == 2


def test_what_fails_leaves_nothing(ended, project):
    assert not (project / "nothing").exists()
    assert not (project / "new").exists()
    assert not list(project.glob("**/.export-*"))
