"""A base that is a URL: what a config says of it before anything is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from stepladder.core.config import Resolved, load_config
from stepladder.core.errors import ConfigError

BASE = "https://host/v1#model"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    row = {"text": "t", "label": "a"}
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps(row))
    return tmp_path


def load(project: Path, **changes: Any) -> Resolved:
    config = {
        "name": "run",
        "base": BASE,
        "task": "classify",
        "data": {"train": "train.jsonl", "test": "test.jsonl"},
        "methods": ["zero_shot"],
        **changes,
    }
    path = project / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_config(path)


def faults(project: Path, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(project, **changes)
    return list(error.value.faults)


def test_prompts_run_on_it_and_its_settings_have_values_and_origins(project, monkeypatch):
    monkeypatch.setenv("HOST_KEY", "secret")
    methods = ["zero_shot", {"few_shot": {"style": "question", "decoder": {"sample": {"top_p": 0.5}}}}]
    found = load(project, methods=methods, endpoint={"key": "HOST_KEY", "parallel": 8})
    assert found.config.base == BASE
    assert found.config.endpoint.model_dump() == {
        "key": "HOST_KEY",
        "timeout_seconds": 60,
        "retries": 4,
        "parallel": 8,
    }
    assert found.origins["endpoint.parallel"] == "file" and found.origins["endpoint.retries"] == "default"
    assert load(project).config.endpoint.key is None, "every such base has the section"


def test_what_needs_weights_is_refused_with_the_reason(project):
    for method in ("linear_probe", "lora", "full", "soft_prompt", "prefix"):
        (fault,) = faults(project, methods=[method])
        start = (
            f"methods.{method}: needs the weights of its base; {BASE} is an endpoint: methods that run on it:"
        )
        assert fault.startswith(f"{start} zero_shot, few_shot")


def test_what_needs_probabilities_is_refused_with_the_reason(project):
    (project / "retain.txt").write_text("text")
    (fault,) = faults(project, retain={"text": "retain.txt"})
    assert fault.startswith(f"retain: {BASE} is an endpoint, which tells no probabilities, so that nothing")
    (fault,) = faults(project, task="text")
    assert fault.startswith(
        f"task: 'text' is judged by the probability of the text, and {BASE} is an endpoint"
    )


def test_what_a_chat_cannot_say_is_refused(project):
    (fault,) = faults(project, methods=[{"zero_shot": {"style": "cloze"}}])
    assert fault.startswith("methods.zero_shot: style: found 'cloze', a text to be completed")
    (fault,) = faults(project, methods=[{"few_shot": {"decoder": {"sample": {"top_k": 5}}}}])
    assert fault == "methods.few_shot: decoder.sample.top_k: the OpenAI form has no such key: use top_p"
    data = {"train": "train.jsonl", "test": "test.jsonl", "max_length": 100}
    (fault,) = faults(project, data=data)
    assert fault.startswith("data.max_length: counts tokens, and a base that is a URL has no tokenizer here")


@pytest.mark.parametrize(
    "base, found",
    [
        ("https://host/v1", "found no model's name behind a # in https://host/v1"),
        ("https://host/v1#", "found no model's name"),
        ("https:///v1#m", "found 'https:///v1#m'"),
        ("https://ho st/v1#m", "found 'https://ho st/v1#m'"),
        ("https://host:port/v1#m", "found a URL that cannot be read"),
        ("https://host/v1/chat/completions#m", "found /v1/chat/completions: end the path where"),
        ("https://me:hidden@host/v1#m", "found a URL with a user, which would be kept with the run"),
        ("https://host/v1?key=hidden#m", "found a URL with a query, which would be kept with the run"),
    ],
)
def test_urls_that_name_no_endpoint(project, base: str, found: str):
    (fault,) = faults(project, base=base)
    assert fault.startswith(f"base: expected https://HOST/v1#MODEL, {found}")
    assert "hidden" not in fault


def test_the_key_is_named_and_never_written(project, monkeypatch):
    monkeypatch.delenv("HOST_KEY", raising=False)
    (fault,) = faults(project, endpoint={"key": "HOST_KEY"})
    assert fault.startswith("endpoint.key: the environment has no variable HOST_KEY")
    monkeypatch.setenv("HOST_KEY", " ")
    assert faults(project, endpoint={"key": "HOST_KEY"}) == [fault]
    (fault,) = faults(project, endpoint={"key": "sk-abcdef0123"})
    assert fault.startswith("endpoint.key: expected the name of an environment variable in capitals")
    assert "sk-abc" not in fault and "13 characters" in fault


def test_the_section_is_checked_like_others(project):
    (fault,) = faults(project, endpoint={"paralel": 3})
    assert fault == "endpoint.paralel: unknown key (did you mean 'parallel'?)"
    found = faults(project, endpoint={"parallel": 0, "timeout_seconds": "long", "retries": -1})
    assert sorted(fault.partition(":")[0] for fault in found) == [
        "endpoint.parallel",
        "endpoint.retries",
        "endpoint.timeout_seconds",
    ]
    (fault,) = faults(project, base="smollm2-135m-instruct", endpoint={"parallel": 3})
    assert fault.startswith("endpoint: says how a URL is asked, and the base is smollm2-135m-instruct")
