"""Registered versions as their users meet them: over HTTP, by `stepladder verify`, by `stepladder show`."""

import json
import os
import signal
import socket
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import pytest
from commands import open_shell

sys.path.insert(0, str(Path(__file__).parents[2] / "core" / "package" / "helpers"))

import climbing

LORA = {"lora": {"rank": 2, "epochs": 1}}
OPEN = {"task": "generate", "methods": [{"zero_shot": {"max_new_tokens": 4}}]}
# The versions of `colours`, from 1 on.
VERSIONS = {
    "first": (climbing.classify_rows, {"methods": [LORA], "data_license": "CC-BY-4.0"}),
    "second": (climbing.classify_rows, {}),
    "choice": (climbing.choice_rows, {"task": "choice"}),
    "chat": (climbing.chat_rows, OPEN),
}
JUDGED = {
    "stepladder.verdict": "rejected",
    "stepladder.verdict.reason": "size: too large",
    "stepladder.gate.size": "refused: too large",
    "stepladder.gate.size.bytes": "3000.0",
    "stepladder.test_sha256": "2" * 64,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    """A folder in which four runs have registered a version each, two of them changed since; its registry."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPLADDER_HOME", str(folder / "home"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'home' / 'mlflow.db'}")
        patch.setattr("torch.cuda.is_available", lambda: False)
        count_loads(patch, folder / "loaded")
        for name, (rows, changes) in VERSIONS.items():
            climbing.climb(folder / name, base_folder, rows(), changes).register()
        prepare(folder)
        yield folder


def count_loads(patch, file):
    """Write a point into the file whenever a package loads its base."""
    from stepladder.core.package import served

    def load_base(ref):
        with file.open("a") as points:
            points.write(".")
        return load(ref)

    load = served.load_base
    patch.setattr(served, "load_base", load_base)


def prepare(folder):
    """Make one the champion, one rejected, and two other than they were registered."""
    from stepladder.core.tracking.client import connect

    client = connect()
    client.set_registered_model_alias("colours", "champion", "3")
    client.set_registered_model_tag("colours", "stepladder.champions", json.dumps(["2", "3"]))
    for tag, value in JUDGED.items():
        client.set_model_version_tag("colours", "1", tag, value)
    for version, file in (("2", "artifacts/served/manifest.json"), ("4", "loader.py")):
        changed = Path(urlparse(client.get_model_version_download_uri("colours", version)).path) / file
        changed.write_text(changed.read_text() + "\n")


def environment(project):
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **quiet, "PATH": programs}


COMMANDS = {
    "verified": ["verify", "models:/colours@champion"],
    "candidate": ["verify", "candidate/artifact"],
    "other loader": ["verify", "colours/4"],
    "other package": ["verify", "colours/2"],
    "shown": ["show", "models:/colours/1"],
    "both": ["show", "colours/1", "colours/2", "--json"],
    "no such alias": ["show", "colours@chalenger"],
}


@pytest.fixture(scope="module")
def ended(project):
    """How each command ended: code, out, err, and the heavy libraries that its process held then."""
    steps = project / "first" / "steps"
    (project / "candidate").mkdir()
    (project / "candidate" / "artifact").symlink_to(steps / "fit-lora" / "artifact")
    (project / "candidate" / "predictions.jsonl").symlink_to(steps / "evaluate-lora" / "predictions.jsonl")
    with open_shell(project, environment(project)) as shell:
        return {name: shell.stepladder(*arguments) for name, arguments in COMMANDS.items()}


def cells(out):
    """A table: the first column, and the rest of the line."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line.strip()}


def test_no_command_loads_a_heavy_library_itself(ended):
    assert {name for name, each in ended.items() if each.heavy} == set()


# --- verify ---


def test_verify_says_what_it_has_checked(ended, base_folder):
    assert ended["verified"].code == 0, ended["verified"].err
    said = cells(ended["verified"].out)
    assert said["registry"] == "loader and package are those that were registered"
    assert said["base"].startswith(f"{base_folder} as recorded (sha256 ")
    assert said["answers"] == "8 recorded rows answered as then"
    assert said["Verified:"] == "models:/colours/3"


def test_verify_takes_a_candidate_of_a_run(ended, project):
    assert ended["candidate"].code == 0, ended["candidate"].err
    said = cells(ended["candidate"].out)
    assert said["files"] == "3 files as the fit wrote them"
    assert said["answers"] == "8 rows of predictions.jsonl answered as then"
    assert said["Verified:"] == f"{project}/candidate/artifact"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("other loader", "version 4 of colours: loader.py is not what was registered (tag stepladder.load"),
        ("other package", "version 2 of colours: manifest.json is not what was registered (tag stepladder."),
        ("no such alias", "colours has no version with the alias 'chalenger' (did you mean 'challenger'?)"),
    ],
)
def test_what_is_wrong_ends_with_2_and_one_message(ended, command, said):
    assert (ended[command].code, ended[command].out) == (2, "")
    assert ended[command].err.startswith(f"stepladder: {said}")


# --- show ---


def test_show_tells_whence_a_version_comes(ended, base_folder):
    assert ended["shown"].code == 0, ended["shown"].err
    said = cells(ended["shown"].out)
    assert said["models:/colours/1"] == "", "the head of the table"
    assert (said["model.champion"], said["model.champions"]) == ("3", '["2", "3"]')
    assert (said["promotion.verdict"], said["promotion.gates.size"]) == ("rejected", "refused: too large")
    assert said["run.name"] == "colours"
    assert (said["candidate.id"], said["candidate.settings.rank"]) == ("lora", "2")
    assert said["base.name"] == str(base_folder)
    assert len(said["base.fingerprint"]) == 12
    assert said["data.train.read"] == "32"
    assert said["data_sha256.test"] == "2" * 12
    assert said["plugins.method:lora"].startswith("stepladder ")
    assert said["licenses.data"] == "CC-BY-4.0"
    assert said["commit"] == said["licenses.base"] == "-"
    assert said["config.task"] == "classify"


def test_of_two_versions_what_differs_is_shown(ended, project):
    differing = json.loads(ended["both"].out)
    assert differing["model.version"] == ["1", "2"]
    assert differing["candidate.id"] == ["lora", "zero_shot"]
    assert differing["candidate.settings.rank"] == [2, None]
    assert differing["licenses.data"] == ["CC-BY-4.0", None]
    assert differing["run.run_dir"] == [f"{project}/first/run", f"{project}/second/run"]
    assert differing["promotion.verdict"] == ["rejected", None]
    assert not {"base.fingerprint", "data.train.read", "versions.torch", "config.task"} & set(differing)


# --- MLflow ---


def test_a_version_says_what_it_takes_needs_and_is_licensed_under(project, base_folder):
    import mlflow
    from stepladder.core.tracking.client import connect

    tags = connect().get_model_version("colours", "1").tags
    assert (tags["stepladder.license.data"], tags["stepladder.license.base"]) == ("CC-BY-4.0", "unknown")
    assert (tags["stepladder.method"], tags["stepladder.base"]) == ("lora", str(base_folder))
    info = mlflow.models.get_model_info("models:/colours/3")
    columns = info.signature.inputs.to_dict()
    types = [(column["name"], column["type"]) for column in columns]
    assert types == [("input", "string"), ("options", "array")]
    assert all(column["required"] for column in columns)
    folder = Path(mlflow.artifacts.download_artifacts("models:/colours/3"))
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert example["dataframe_split"]["columns"] == ["input", "options"]
    requirements = (folder / "requirements.txt").read_text().split()
    names = [requirement.partition("==")[0] for requirement in requirements]
    assert names == ["mlflow", "stepladder", "torch", "transformers"]
    assert not any("+" in requirement for requirement in requirements), "builds that no index has"


def test_to_register_a_version_its_base_is_loaded_once(project):
    assert (project / "loaded").read_text() == "." * len(VERSIONS)


@pytest.fixture
def server(project):
    """The address of `mlflow models serve`, once it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = ["models", "serve", "-m", "models:/colours@champion", "--env-manager", "local"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *serve, "--host", "127.0.0.1", "--port", str(port)],
        env=environment(project),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        before = list(takewhile(lambda line: "Uvicorn running" not in line, process.stderr))
        assert process.poll() is None, "".join(before)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(server, rows):
    body = json.dumps({"dataframe_records": rows}).encode()
    with urlopen(Request(f"{server}/invocations", body, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)["predictions"]


def test_mlflow_serves_a_version_over_http(server, project):
    """As `stepladder run` tells users to; the answers are those of the evaluation."""
    evaluated = project / "choice" / "steps" / "evaluate-zero_shot" / "predictions.jsonl"
    rows = [json.loads(line) for line in evaluated.read_text().splitlines()]
    asked = [{"input": row["input"], "options": list(row["scores"])} for row in rows]
    assert ask(server, asked) == [row["predicted"] for row in rows]
    with pytest.raises(HTTPError) as refused:
        ask(server, [{"input": "the car is red"}])
    assert refused.value.code == 400
    assert "missing inputs ['options']" in refused.value.read().decode()
