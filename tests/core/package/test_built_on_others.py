"""Packages of candidates that build on others: an ensemble stands alone, a bootstrap is what it fitted."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import climbing
import pytest
from stepladder.core.data.unanswered import inputs_of, load_inputs
from stepladder.core.model.adapter import Description
from stepladder.core.package.layout import read_train_keys
from stepladder.core.package.pack import Contents, pack
from stepladder.core.package.verify import verify_package
from stepladder.core.types import Example

NEW = [f"{thing} seems very {colour}" for thing in ("my car", "the door") for colour in climbing.COLOURS]


@pytest.fixture(scope="module")
def compared(own_machine, base_folder, tmp_path_factory):
    """A run of four candidates up to the comparison, and their entries by id."""
    folder = tmp_path_factory.mktemp("built") / "run"
    more = folder.parent / "more.jsonl"
    more.write_text("".join(json.dumps({"input": text}) + "\n" for text in NEW))
    bootstrap = {"unlabelled": str(more), "by": "linear_probe", "confidence": 0.0, "then": climbing.LORA}
    methods = [
        "zero_shot",
        {"linear_probe": {"layers": 1}},
        {"bootstrap": bootstrap},
        {"ensemble": {"of": ["zero_shot", "linear_probe", "bootstrap"]}},
    ]
    run = climbing.climb(folder, base_folder, climbing.classify_rows(), {"methods": methods})
    run.judge()
    told = json.loads(Path(run.needs["compare"], "result.json").read_text())
    return run, {each["id"]: each for each in told["candidates"]}


def packed(compared, name, folder):
    run, entries = compared
    contents = Contents(run.run, entries[name], run.base, run.config, Path(run.needs["render"]))
    verify_package(folder, pack(contents, folder))
    return folder


def test_all_are_ok_and_the_ensemble_costs_what_its_members_cost(compared):
    _, entries = compared
    assert {each["status"] for each in entries.values()} == {"ok"}
    assert {name: each["rung"] for name, each in entries.items()} == {
        "zero_shot": 0.0,
        "linear_probe": 1.0,
        "bootstrap": 1.5,
        "ensemble": 1.5,
    }
    cost = {name: each["cost"] for name, each in entries.items()}
    members = ("zero_shot", "linear_probe", "bootstrap")
    for figure in ("trainable_parameters", "trained_tokens"):
        assert cost["ensemble"][figure] == sum(cost[name][figure] for name in members)
    assert cost["ensemble"]["artifact_bytes"] > sum(cost[name]["artifact_bytes"] for name in members)
    assert entries["bootstrap"]["notes"]["labelled"] == len(NEW)


@pytest.mark.parametrize("name", ["ensemble", "bootstrap"])
def test_the_package_verifies_where_nothing_else_is_left(compared, name, tmp_path):
    (tmp_path / "package").mkdir()
    folder = packed(compared, name, tmp_path / "package")
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert verify_package(copy)["answers"].endswith("answered as then")
    assert Description.read(copy / "artifact").method == {"bootstrap": "lora"}.get(name, name)


def test_rows_that_were_labelled_cannot_judge_the_package(compared, tmp_path):
    (tmp_path / "package").mkdir()
    keys = set(read_train_keys(packed(compared, "ensemble", tmp_path / "package")).tolist())
    new = set(inputs_of([Example("", text, "") for text in NEW]).tolist())
    assert len(new) == len(NEW) and new <= keys
    run, _ = compared
    assert len(load_inputs(Path(run.needs["fit:zero_shot"]))) == 0


def test_the_steps_are_those_of_any_other_candidate(compared):
    run, _ = compared
    spec = {"config": run.config, "base": run.base, "needs": run.needs, "candidate": run.candidates[3]}
    assert importlib.import_module("stepladder.core.steps.merge").run(spec, run.folder)["merged"] is False
