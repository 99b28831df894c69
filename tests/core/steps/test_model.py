"""A model named by a folder that is none; versions are found by real commands in tests/flows/evaluation."""

import pytest
from stepladder.core.errors import InputError
from stepladder.core.steps.model import find_model


@pytest.fixture
def candidate(tmp_path):
    (tmp_path / "lora" / "artifact").mkdir(parents=True)
    (tmp_path / "lora" / "artifact" / "adapter.json").write_text("{}")
    return tmp_path / "lora"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"^no model '.*absent': expected models:/NAME@alias, "):
        find_model(str(tmp_path / "absent"), tmp_path)


def test_the_folder_above_the_artifact(candidate, tmp_path):
    with pytest.raises(InputError, match=r"lora has no adapter.json \(did you mean '.*/lora/artifact'\?\)"):
        find_model(str(candidate), tmp_path)
