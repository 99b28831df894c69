"""Whole runs against a real MLflow server with accounts on PostgreSQL, and what they do without it."""

import contextlib
import json
import time
from pathlib import Path


def result_of(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def versions(client, name):
    return [str(version.version) for version in client.search_model_versions(f"name = '{name}'")]


def records(client, name):
    """The names of all MLflow's runs in the experiment, whatever became of them."""
    experiment = client.get_experiment_by_name(name)
    return sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))


def files_with(folder, secret):
    """The files and folders below `folder` that hold the secret, in their content or in their name."""
    return [
        path
        for path in folder.rglob("*")
        if secret in str(path) or (path.is_file() and secret.encode() in path.read_bytes())
    ]


@contextlib.contextmanager
def gone(*paths):
    """While nothing lies there."""
    for path in paths:
        path.rename(f"{path}.gone")
    try:
        yield
    finally:
        for path in paths:
            Path(f"{path}.gone").rename(path)


def test_a_whole_run_is_registered_and_its_password_is_written_nowhere(whole, server, client, project):
    ended, run_dir = whole
    assert result_of(run_dir)["registered"] == {"name": "whole", "version": "1", "alias": "challenger"}
    assert str(client.get_model_version_by_alias("whole", "challenger").version) == "1"
    assert records(client, "whole") == [run_dir.name, "zero_shot"]
    for secret in server.password, server.quoted_password:
        assert secret not in ended.out + ended.err
        assert files_with(project, secret) == files_with(server.folder, secret) == []


def test_its_files_come_from_the_server(whole, client):
    from mlflow.artifacts import download_artifacts

    uri = "models:/whole@challenger/artifacts/served/artifact/adapter.json"
    assert json.loads(Path(download_artifacts(uri)).read_text())["method"] == "zero_shot"


def test_who_is_not_known_is_told_so_without_a_secret(run, server, project):
    wrong = "not/the@right-one"
    ended, run_dir = run("unknown", {**server.account, "MLFLOW_TRACKING_PASSWORD": wrong})
    assert ended.code == 1
    told = ended.err
    assert f"MLflow at {server.uri} does not let this user" in told
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in told
    assert f"the results are whole in {run_dir}\n" in told
    assert f"`stepladder register {run_dir}`" in told
    assert wrong not in ended.out + told
    assert files_with(project, wrong) == []


def test_a_database_that_cannot_be_had_shows_no_password(whole, shell, project):
    wrong = "hunter2-of-the-database"
    uri = f"postgresql+nodriver://ann:{wrong}@127.0.0.1/mlflow"
    ended = shell.stepladder("register", whole[1], MLFLOW_TRACKING_URI=uri)
    assert ended.code == 1
    assert "MLflow at postgresql+nodriver://127.0.0.1/mlflow" in ended.err
    assert wrong not in ended.out + ended.err
    assert files_with(project, wrong) == []


def test_a_run_without_its_server_is_registered_later_from_what_it_left(run, shell, server, client, project):
    with server.down():
        ended, run_dir = run("down", server.account)
    assert ended.code == 1
    result, page = result_of(run_dir), (run_dir / "report.md").read_text()
    assert f"MLflow at {server.uri} does not answer" in ended.err
    for told in ended.err, page:
        assert "Connection refused" in told
        assert f"stepladder register {run_dir}" in told
    assert (result["status"], result["choice"]["id"], result["registered"]) == ("failed", "zero_shot", None)
    assert Path(result["candidates"][0]["predictions"]).stat().st_size
    with gone(project / "rows", project / "colours.yaml"):
        later = shell.stepladder("register", run_dir.name, **server.account)
    assert later.code == 0, later
    assert "Registered: models:/down@challenger, version 1" in later.out
    done = [line.split()[1] for line in later.out.splitlines() if line.startswith("✓")]
    assert done == ["record", "register", "report"]
    assert versions(client, "down") == ["1"]
    assert records(client, "down") == [run_dir.name, "zero_shot"]
    assert result_of(run_dir)["status"] == "ok"
    assert "## What failed" not in (run_dir / "report.md").read_text()


def test_a_server_that_hangs_holds_nobody_longer_than_was_set(whole, shell, server, client):
    _, run_dir = whole
    started = time.monotonic()
    with server.held_still():
        ended = shell.stepladder("register", run_dir, **server.account, MLFLOW_HTTP_REQUEST_TIMEOUT="1")
    assert ended.code == 1
    assert "Read timed out. (read timeout=1)" in ended.err
    assert time.monotonic() - started < 30
    again = shell.stepladder("register", run_dir, **server.account)
    assert again.code == 0, again
    assert versions(client, "whole") == ["1"], "a run is registered once"


def test_a_run_is_registered_under_another_name(whole, shell, server, client):
    _, run_dir = whole
    ended = shell.stepladder("register", run_dir, "--as", "other", **server.account)
    assert "Registered: models:/other@challenger, version 1" in ended.out, ended
    assert "register: other" in (run_dir / "config.yaml").read_text()
    assert (versions(client, "other"), versions(client, "whole")) == (["1"], ["1"])


def test_a_version_is_promoted_to_another_environment_once(whole, shell, server, client):
    for _ in range(2):
        ended = shell.stepladder(
            "promote", "whole", "--to", "prod.whole", "--engine", "inline", **server.account
        )
        assert ended.code == 0, ended
    assert versions(client, "prod.whole") == ["1"]
    champion = client.get_model_version_by_alias("prod.whole", "champion")
    first = client.get_model_version("whole", "1")
    assert champion.tags["stepladder.fingerprint"] == first.tags["stepladder.fingerprint"]
    assert "champion" not in client.get_registered_model("whole").aliases


def test_after_all_of_this_the_password_lies_nowhere(server, project):
    assert files_with(project, server.password) == files_with(server.folder, server.password) == []
