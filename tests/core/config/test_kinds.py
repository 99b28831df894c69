"""Methods on the kind of base that they are given: what a config says of it before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from stepladder.core.bases import DEFAULT_ENCODER, packaged_bases
from stepladder.core.config import load_config
from stepladder.core.errors import ConfigError

READERS = "methods that run on it: bootstrap, ensemble, linear_probe, lora, peft, full, maml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Rows, a folder with the config.json of an encoder and one with that of a causal model."""
    row = {"text": "t", "label": "a", "question": "q", "options": ["a", "b"], "answer": "a"}
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps(row))
    for name, architecture in (("reader", "BertModel"), ("writer", "LlamaForCausalLM")):
        (tmp_path / name).mkdir()
        model = {"architectures": [architecture], "model_type": "bert" if name == "reader" else "llama"}
        (tmp_path / name / "config.json").write_text(json.dumps(model))
    return tmp_path


def faults(project: Path, base: str | None, methods: list[Any], **changes: Any) -> list[str]:
    config = {
        "name": "run",
        "base": base,
        "task": "classify",
        "data": {"train": "train.jsonl", "test": "test.jsonl"},
        "methods": methods,
        **changes,
    }
    path = project / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    try:
        load_config(path)
    except ConfigError as error:
        return [fault.replace(f"{project}/", "") for fault in error.faults]
    return []


def test_a_method_that_writes_cannot_run_on_an_encoder(project):
    assert faults(
        project, "reader", ["few_shot", "linear_probe", "lora", {"prefix": {"length": [4, 8]}}]
    ) == [
        f"methods.few_shot: needs a base that writes; reader is an encoder: {READERS}",
        f"methods.prefix: needs a base that writes; reader is an encoder: {READERS}",
    ]


@pytest.mark.skipif(not packaged_bases()[DEFAULT_ENCODER].folder(), reason="its package is not installed")
def test_the_named_encoder_is_known_as_one(project):
    (fault,) = faults(project, "all-minilm-l6-v2", ["zero_shot"])
    assert fault == f"methods.zero_shot: needs a base that writes; all-minilm-l6-v2 is an encoder: {READERS}"


def test_a_linear_head_tells_labels_and_nothing_else(project):
    fault = "with these settings and on reader (its kind: encoder) it does the tasks classify, found 'choice'"
    assert faults(project, "reader", ["lora"], task="choice") == [f"methods.lora: {fault}"]
    (found,) = faults(project, "writer", [{"full": {"head": "linear"}}], task="choice")
    assert "on writer (its kind: causal) it does the tasks classify, found 'choice'" in found


def test_an_encoder_has_no_words_and_forgets_none(project):
    (project / "retain.txt").write_text("text")
    worded = [{"full": {"head": "words"}}, {"lora": {"head": "words"}}]
    retain, head, other = faults(project, "reader", worded, retain={"text": "retain.txt"})
    assert retain.startswith("retain: reader is an encoder, which predicts no text")
    assert head.startswith("methods.full: head: found 'words'")
    assert other.startswith("methods.lora: head: found 'words'")


def test_an_encoder_can_be_given_no_text_to_replay(project):
    (fault,) = faults(project, "reader", ["full"], replay={"source": "self"})
    assert fault == (
        "replay: reader is an encoder, which predicts no text, so that none can be trained on beside the "
        "rows: remove `replay`"
    )
    assert faults(project, "writer", ["full"], replay={"source": "self"}) == []


def test_without_a_base_nothing_is_replayed(project):
    found = faults(project, None, ["linear_probe"], replay={"source": "self"})
    assert (
        "replay: the base is none, which predicts no text, so that none can be trained on beside the rows: "
        "remove `replay`"
    ) in found


def test_a_causal_base_takes_them_all(project):
    methods = ["zero_shot", "few_shot", "linear_probe", "lora", "full", {"full": {"head": "linear"}}]
    assert faults(project, "writer", methods) == []


def test_a_method_that_adapts_a_base_needs_one(project):
    assert faults(project, None, ["zero_shot"]) == [
        "methods.zero_shot: needs a base that writes; the base is none: methods that run on it: none"
    ]


def test_what_is_not_there_forgets_nothing(project):
    (project / "retain.txt").write_text("text")
    retain, _ = faults(project, None, ["zero_shot"], retain={"text": "retain.txt"})
    assert retain.startswith("retain: the base is none, which predicts no text")


@pytest.mark.parametrize("base", ["writer", "smollm2-135m-instruct"])
def test_a_method_that_needs_no_base_is_given_none(project, base):
    (fault,) = faults(project, base, ["vae"], task="synthesize")
    assert fault.startswith(
        f"methods.vae: needs no base (`base: null`); {'' if base == 'writer' else 'found '}"
    )
    assert faults(project, None, ["vae"], task="synthesize") == []


@pytest.mark.parametrize(
    "decoder, asked",
    [
        ({"best_of_n": {"by": "likelihood"}}, "tell how likely an answer is"),
        ({"beam": {"by": "python_syntax"}}, "go on from a beginning and to tell how likely an answer is"),
    ],
)
def test_a_decoder_that_asks_too_much_of_the_base_is_refused(project, monkeypatch, decoder, asked: str):
    rows = json.dumps({"input": "a", "response": "b"})
    for name in ("train.jsonl", "test.jsonl"):
        (project / name).write_text(rows)
    methods = [{"zero_shot": {"decoder": decoder}}]
    assert faults(project, "writer", methods, task="generate") == []
    monkeypatch.setattr("stepladder.core.config.kinds.abilities", lambda kind: ("write",))
    (fault,) = faults(project, "writer", methods, task="generate")
    assert f"asks a base to {asked}; writer is a causal model, which is able to write answers" in fault
    only_writes = [{"zero_shot": {"decoder": {"best_of_n": {"by": "python_syntax"}}}}, "few_shot"]
    assert faults(project, "writer", only_writes, task="generate") == []
