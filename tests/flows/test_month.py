"""A month in the life of one registered model, by the commands that its users give: real runs, real registry.

The first champion is a prompt. Then four retrainings: one on rows with wrong labels, one that forgets, one
whose run and whose promotion are killed half-way, and a good one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from colours import COLOURS
from commands import Shell, environment_in, open_shell

THINGS = [
    f"{owner} {thing}"
    for owner in ("my", "your", "the")
    for thing in ("car", "house", "door", "paint", "sky", "sea")
]
LABELS = ("red", "blue")
NAME = "colours"


def sentences(number: int) -> str:
    """Ordinary text of the tiny base's language."""
    draw = random.Random(0)
    words = (THINGS, ("is", "was", "looks", "seems"), ("very", "quite", "today"), (*LABELS, "green", "dull"))
    return " ".join(f"{' '.join(map(draw.choice, words))}." for _ in range(number))


def rows() -> list[dict[str, str]]:
    """144 rows in a fixed order, half of them red."""
    made = [
        {"text": f"{thing} {verb} {shade} {colour}", "colour": colour}
        for thing in THINGS
        for verb in ("is", "was")
        for shade in ("very", "quite")
        for colour in LABELS
    ]
    random.Random(1).shuffle(made)
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory, word_tokenizer):
    """A tiny base that has learned the text by which forgetting is measured."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("month") / "base"
    ids = word_tokenizer(sentences(900), add_special_tokens=False)["input_ids"]
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(word_tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=word_tokenizer.bos_token_id,
            eos_token_id=word_tokenizer.eos_token_id,
            pad_token_id=word_tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for step in range(60):
        starts = (random.Random(f"{step} {row}").randrange(len(ids) - 64) for row in range(16))
        batch = torch.tensor([ids[start : start + 64] for start in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    word_tokenizer.save_pretrained(folder)
    return folder


REGISTERED = """\
retain: {text: retain.txt}
register: colours
"""
LORA = """
rank: 4, epochs: 10, learning_rate: 0.01, batch_size: 12,
target: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
"""
# Each retraining, by what its config adds.
WEEKS = {
    "prompt": "methods: [zero_shot]",
    "wrong": "methods: [linear_probe]",
    "forgets": f"methods: [{{lora: {{{LORA}}}}}]",
    "killed": "methods: [linear_probe]",
    "good": "methods: [linear_probe]",
}
ROWS = {"wrong": "wrong.jsonl", "killed": "few.jsonl"}


@dataclass(frozen=True)
class Project:
    """A folder with a config for each week, and the registry that all of them share."""

    shell: Shell
    folder: Path

    def stepladder(self, *arguments: str, code: int = 0) -> str:
        """What the command printed; it must end with `code`."""
        ended = self.shell.stepladder(*arguments)
        assert ended.code == code, ended.said
        return ended.said

    def retrain(self, week: str) -> str:
        return self.stepladder("run", f"{week}.yaml", "--engine", "inline")

    def promote(self, code: int = 0) -> str:
        return self.stepladder("promote", NAME, "--engine", "inline", code=code)

    def kill_when(self, there: str, *arguments: str) -> None:
        """Start a command and kill it with SIGKILL as soon as a path of that pattern is there."""
        command = [sys.executable, "-c", "from stepladder.flows.cli import main; main()", *arguments]
        process = subprocess.Popen(
            command, cwd=self.folder, env=dict(self.shell.environment), text=True, stdout=subprocess.PIPE
        )
        parent = psutil.Process(process.pid)
        end = time.monotonic() + 120
        while not any(self.folder.glob(there)):
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.01)
        family = parent.children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, "children end with their parent"


@pytest.fixture(scope="module")
def project(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("month") / "project"
    folder.mkdir()
    all_rows, other = rows(), dict(zip(LABELS, reversed(LABELS), strict=True))
    train, test = all_rows[:72], all_rows[72:]
    wrong = [{**row, "colour": other[row["colour"]]} for row in train]
    for name, part in {"train": train, "test": test, "wrong": wrong, "few": train[:48]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "retain.txt").write_text(sentences(900))
    for week, methods in WEEKS.items():
        config = yaml.safe_load(f"{COLOURS.format(base=base)}{REGISTERED}{methods}")
        config["name"], config["data"]["train"] = week, ROWS.get(week, "train.jsonl")
        (folder / f"{week}.yaml").write_text(yaml.safe_dump(config))
    with open_shell(folder, environment_in(folder / "home")) as shell:
        yield Project(shell, folder)


@pytest.fixture(scope="module")
def registry_of(project):
    """MLflow's own client of the project's registry."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{project.folder / 'home' / 'mlflow.db'}")


@pytest.mark.faults
def test_a_month(project, registry_of):
    def champion() -> str:
        return str(registry_of.get_model_version_by_alias(NAME, "champion").version)

    def verdict(version: int) -> dict[str, str]:
        return registry_of.get_model_version(NAME, str(version)).tags

    project.retrain("prompt")
    assert "Promoted: models:/colours@champion is version 1 (the first one)" in project.promote()

    project.retrain("wrong")
    said = project.promote(code=3)
    assert "better_than_champion" in said and "refused" in said
    assert champion() == "1"
    assert verdict(2)["stepladder.verdict"] == "rejected"

    project.retrain("forgets")
    project.promote(code=3)
    assert champion() == "1"
    assert verdict(3)["stepladder.gate.no_forgetting"].startswith("refused")

    project.kill_when("runs/steps/fit-*.partial/artifact", "run", "killed.yaml", "--engine", "inline")
    project.retrain("killed")
    project.retrain("killed")
    project.kill_when("home/promotions/promote-*.partial", "promote", NAME, "--engine", "inline")
    assert champion() in ("1", "4")
    project.promote()
    assert champion() == "4"

    project.retrain("good")
    assert "version 5 (before: version 4)" in project.promote()

    versions = registry_of.search_model_versions(f"name = '{NAME}'")
    assert sorted(int(version.version) for version in versions) == [1, 2, 3, 4, 5], "none twice"
    model = registry_of.get_registered_model(NAME)
    assert {alias: str(version) for alias, version in model.aliases.items()} == {
        "champion": "5",
        "challenger": "5",
    }
    assert json.loads(model.tags["stepladder.champions"]) == ["1", "4", "5"]
    assert "stepladder.promotion" not in model.tags, "nothing is half-done"
    told = {int(version.version): version.tags["stepladder.verdict"] for version in versions}
    assert told == {1: "promoted", 2: "rejected", 3: "rejected", 4: "promoted", 5: "promoted"}
    partial = [
        path for path in project.folder.rglob("*") if path.name.endswith((".partial", ".gone", ".new"))
    ]
    assert not partial

    assert "is version 4 again" in project.stepladder("rollback", NAME)
    assert "is version 1 again" in project.stepladder("rollback", NAME)
    assert "no earlier champion is there" in project.stepladder("rollback", NAME, code=2)
    assert champion() == "1"
