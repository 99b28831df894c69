"""A config names its secrets; one that holds a secret is refused, and the secret is not repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from stepladder.core.config import Resolved, load_config
from stepladder.core.discovery import Registry
from stepladder.core.errors import ConfigError

SECRET = "sk-0123456789abcdef"


class Project(NamedTuple):
    folder: Path
    registry: Registry


@pytest.fixture
def project(tmp_path: Path, registry: Registry) -> Project:
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps({"text": "t", "label": "a"}))
    return Project(tmp_path, registry)


def load(project: Project, *flags: str, **changes: Any) -> Resolved:
    config = {
        "name": "run",
        "base": "https://host/v1#model",
        "task": "classify",
        "data": {"train": "train.jsonl", "test": "test.jsonl"},
        "methods": ["zero_shot"],
        **changes,
    }
    path = project.folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return load_config(path, flags, project.registry)


def refused(project: Project, *flags: str, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(project, *flags, **changes)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_key_is_named_by_its_variable_or_by_a_block_of_prefect(project, monkeypatch):
    monkeypatch.setenv("HOST_KEY", SECRET)
    by_name, by_mapping, by_block = (
        load(project, endpoint={"key": key}).config.endpoint
        for key in ("HOST_KEY", {"env": "HOST_KEY"}, {"prefect_secret": "host-key"})
    )
    assert by_name == by_mapping
    assert (by_name.variable, by_block.variable) == ("HOST_KEY", "STEPLADDER_SECRET_HOST_KEY")
    assert by_block.model_dump()["key"] == {"prefect_secret": "host-key"}


def test_what_names_no_secret_is_refused(project):
    said = refused(project, endpoint={"key": {"env": "NOBODY_SET_THIS"}})
    assert "endpoint.key: the environment has no variable NOBODY_SET_THIS" in said
    assert "endpoint.key" in refused(project, endpoint={"key": {"prefect_secret": "Host Key"}})
    assert "did you mean 'prefect_secret'?" in refused(project, endpoint={"key": {"prefect_secrets": "x"}})


@pytest.mark.parametrize(
    "key", ["api_key", "token", "password", "hub_token", "AWS_SECRET_ACCESS_KEY", "apikey"]
)
@pytest.mark.parametrize("flag", [False, True])
def test_a_secret_by_its_keys_name_is_refused(project, key, flag):
    said = refused(project, f"endpoint.{key}={SECRET}") if flag else refused(project, endpoint={key: SECRET})
    where = f"--set endpoint.{key}=…: endpoint.{key}" if flag else f"endpoint.{key}"
    expected = "found a text of 19 characters that looks like a secret; a config never holds one: put it into"
    assert f"{where}: {expected} an environment variable, and name that here: {{env: VARIABLE}}" in said


def test_a_key_in_the_place_of_its_name_is_not_repeated(project):
    assert "--set endpoint.key=…: endpoint.key: expected the name of" in refused(
        project, f"endpoint.key={SECRET}"
    )


def test_an_address_with_a_password_is_refused_wherever_it_stands(project):
    address = f"postgresql://me:{SECRET}@host/rows"
    said = refused(project, methods=[{"zero_shot": {"decoder": address}}])
    assert "methods.zero_shot.decoder: found an address with a password in it; a config never holds" in said
    assert "--set register=…: register: found an address" in refused(project, f"register={address}")


def test_words_of_the_users_own_are_no_secrets(project):
    data = {"train": "train.jsonl", "test": "test.jsonl", "columns": {"input": "token", "label": "label"}}
    instruction = "Is https://me:you@host a good address for a password or a token?"
    found = load(project, data={**data, "instruction": instruction})
    assert found.config.data.instruction == instruction
