"""References to model versions, and what is said of those that there are not."""

import pytest
from stepladder.core.errors import InputError, ModelError, StepError

NAME = "support"


@pytest.fixture
def two(client, make_version):
    make_version("f1", team="green"), make_version("f2")
    client.set_registered_model_alias(NAME, "challenger", "2")


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("models:/support@challenger", "2"),
        ("support@challenger", "2"),
        ("models:/support/1", "1"),
        ("support/1", "1"),
    ],
)
def test_a_version_is_found_by_alias_or_number(client, two, reference, number):
    from stepladder.core.tracking.versions import find, is_reference

    found = find(client, reference)
    assert (found.name, found.version, found.uri) == (NAME, number, f"models:/{NAME}/{number}")
    assert (found.fingerprint, found.tags.get("team")) == {"1": ("f1", "green"), "2": ("f2", None)}[number]
    assert is_reference(reference)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (
            "suport@challenger",
            r"no registered model 'suport' \(did you mean 'support'\?\): there is support;",
        ),
        (
            "support@champion",
            r"it has challenger \(version 2\); `stepladder promote support` makes a version",
        ),
        ("support@chalenger", r"alias 'chalenger' \(did you mean 'challenger'\?\): it has challenger"),
        ("support/7", "support has no version 7: there is 1, 2"),
        ("support", "'support' is no model version: expected NAME@alias or NAME/3"),
        ("models:/support/one", "is no model version"),
        ("models:/m-0123", "is no model version"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(client, two, reference, said):
    from stepladder.core.tracking.versions import find

    with pytest.raises(InputError, match=said):
        find(client, reference)


def test_an_empty_registry_says_how_to_fill_it(client):
    from stepladder.core.tracking.versions import find

    with pytest.raises(
        InputError, match=r"there is none; `stepladder run` on a config with `register: NAME`"
    ):
        find(client, "support@challenger")


def test_a_folder_is_no_reference(client, tmp_path, monkeypatch):
    from stepladder.core.tracking.versions import is_reference

    (tmp_path / "runs" / "3").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_reference("runs/3")
    assert not is_reference(str(tmp_path / "runs" / "3"))
    assert is_reference("runs/4")


def test_the_package_of_a_version_is_fetched(client, two, tmp_path):
    from stepladder.core.tracking.versions import download, find

    folder = download(find(client, "support/1"), tmp_path / "fetched")
    assert [path.name for path in folder.iterdir()] == ["served.json"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


def test_a_version_without_a_package_says_so(client, make_version, tmp_path):
    from stepladder.core.tracking.versions import download, find, has_files

    make_version("f1", source=tmp_path / "nowhere")
    version = find(client, "support/1")
    assert not has_files(version)
    with pytest.raises(ModelError, match=r"version 1 of support has no package .* `stepladder register RUN`"):
        download(version, tmp_path / "fetched")


def test_a_registry_that_does_not_answer_is_a_step_that_failed(home, monkeypatch):
    from stepladder.core.tracking.client import connect
    from stepladder.core.tracking.faults import Unreachable
    from stepladder.core.tracking.versions import find

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"MLflow at http://127.0.0.1:9 does not answer") as caught:
        find(connect(), "support@challenger")
    assert isinstance(caught.value, StepError)
