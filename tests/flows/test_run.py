"""The command `run` in a process of its own: real steps on a tiny base, real MLflow, both engines."""

import ast
import json
import os
import subprocess
import sys

import pytest
from colours import COLOURS, colour_rows, write_splits
from commands import in_turn

METHODS = """
methods:
  - zero_shot
  - lora: {{rank: 2, epochs: 1, learning_rate: 0.002}}
register: colours
"""


# A plugin of another package that writes down what it is told.
LISTENER = """
import json, os
from stepladder.core.hookspecs import hookimpl
STEPLADDER_API = 1
def note(*told):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(told) + "\\n")
    print("plugins may print")
@hookimpl
def stepladder_run_started(run):
    note("started", run)
@hookimpl
def stepladder_candidate_finished(run, candidate):
    note("finished", run, candidate)
@hookimpl
def stepladder_registered(run, registered):
    note("registered", run, registered)
"""


def install(folder, name, module):
    """What installing a wheel of one module would leave."""
    (folder / f"{name}.py").write_text(module)
    about = folder / f"{name}-0.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2\n")
    (about / "entry_points.txt").write_text(f"[stepladder.plugins]\n{name} = {name}\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    """A folder with a config, its rows, and everything that Stepladder keeps."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "site").mkdir()
    install(folder / "site", "listener", LISTENER)
    write_splits(folder, {"train": colour_rows()[:72], "test": colour_rows()[72:]})
    (folder / "colours.yaml").write_text((COLOURS + METHODS).format(base=base_folder))
    return folder


TWO = "methods=[zero_shot, {lora: {rank: 3, epochs: 1}}]"
INLINE = {
    "first": ["run", "colours.yaml", "--engine", "inline"],
    "plan": ["plan", "colours.yaml", "--set", TWO],
    "nothing": ["run"],
}


def stepladder(folder, commands):
    return in_turn(commands, folder, PYTHONPATH=str(folder / "site"), NOTES=str(folder / "notes"))


@pytest.fixture(scope="module")
def inline(project):
    return stepladder(project, INLINE)


@pytest.fixture(scope="module")
def run_dir(inline, project):
    assert inline["first"].code == 0, inline["first"]
    folders = (path.parent for path in (project / "runs").glob("colours-*/result.json"))
    return next(
        folder for folder in folders if json.loads((folder / "result.json").read_text())["registered"]
    )


@pytest.fixture(scope="module")
def result(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_parent_of_a_run_holds_no_heavy_library(inline):
    assert {name: ended.heavy for name, ended in inline.items()} == {name: [] for name in INLINE}


def test_progress_table_choice_and_version_are_printed(inline, result):
    said = inline["first"].out
    assert "✓ fit lora" in said
    assert "fit lora | step 1/" in said
    assert said.index("✓ report") < said.index("(validation)") < said.index("Chosen: zero_shot")
    assert result["choice"]["reason"] in said
    assert "Registered: models:/colours@challenger, version 1" in said
    assert f"Run folder: {result['run_dir']}" in said
    assert f"Next: less {result['run_dir']}/report.md" in said
    assert "mlflow ui --backend-store-uri sqlite:////" in said
    assert "mlflow models serve -m models:/colours@challenger --env-manager local" in said


def test_the_result_has_the_fields_that_scripts_rely_on(result, run_dir):
    assert list(result) == [
        "name",
        "fingerprint",
        "status",
        "run_dir",
        "data",
        "candidates",
        "choice",
        "registered",
    ]
    assert (result["name"], result["status"], result["run_dir"]) == ("colours", "ok", str(run_dir))
    assert run_dir.name == f"colours-{result['fingerprint'][:12]}"
    for counts in result["data"].values():
        parts = ("kept", "quarantined", "duplicates", "leaked", "held_out", "over_limit")
        assert counts["read"] == sum(counts[part] for part in parts)
    for candidate in result["candidates"]:
        assert list(candidate) == [
            *("id", "method", "rung", "settings", "status", "error", "metrics", "validation_metrics"),
            *("retention", "cost", "artifact", "predictions"),
        ]
        assert set(candidate["metrics"]["accuracy"]) == {"value", "low", "high"}
        assert list(candidate["cost"]) == [
            *("trainable_parameters", "fit_seconds", "train_seconds", "trained_tokens"),
            *("replay_tokens", "peak_memory_bytes", "artifact_bytes", "evaluate_seconds"),
            *("written_tokens", "written_tokens_per_row"),
            "prompt_tokens",
        ]
        assert candidate["cost"]["fit_seconds"] > candidate["cost"]["train_seconds"]
        assert candidate["cost"]["peak_memory_bytes"] > 100_000_000
    assert list(result["choice"]) == ["id", "reason"]
    assert result["registered"] == {"name": "colours", "version": "1", "alias": "challenger"}


def test_the_files_of_each_candidate_lie_in_the_run_folder(result, run_dir):
    lora = run_dir / "candidates" / "lora"
    entry = next(each for each in result["candidates"] if each["id"] == "lora")
    assert (entry["artifact"], entry["predictions"]) == (
        str(lora / "artifact"),
        str(lora / "predictions.jsonl"),
    )
    assert json.loads((lora / "artifact" / "adapter.json").read_text())["method"] == "lora"
    rows = lines(lora / "predictions.jsonl")
    assert len(rows) == result["data"]["test"]["kept"]
    assert sum(row["score"] for row in rows) / len(rows) == pytest.approx(
        entry["metrics"]["accuracy"]["value"]
    )
    assert [line["step"] for line in lines(lora / "progress.jsonl")][:2] == [1, 2]
    assert "step 1/" in (run_dir / "logs" / "fit-lora.txt").read_text()
    assert (run_dir / "quarantine.jsonl").exists()
    kept = run_dir.parent / "steps"
    assert any(
        path.samefile(lora / "predictions.jsonl") for path in kept.glob("evaluate-*/predictions.jsonl")
    )
    assert "| 1.5 | lora |" in (run_dir / "report.md").read_text()


def test_nothing_half_written_is_left(run_dir):
    endings = (".partial", ".gone", ".new")
    assert not [path for path in run_dir.parent.rglob("*") if path.name.endswith(endings)]
    assert not list((run_dir.parent / "steps").glob("*.scratch/*"))


LOAD = """
import mlflow, pandas
rows = pandas.DataFrame({"input": ["my car is very red", "the door was quite blue"]})
print(mlflow.pyfunc.load_model("models:/colours@challenger").predict(rows))
"""


def test_the_registered_model_answers_in_another_process(result, project):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{project / 'home' / 'mlflow.db'}"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=False
    )
    answers = ast.literal_eval(done.stdout)
    assert len(answers) == 2
    assert set(answers) <= {"red", "blue"}


def test_with_prefect_a_resumed_run_does_nothing_twice(result, run_dir, project):
    before = len(lines(project / "notes"))
    again = stepladder(project, {"resume": ["run", "--resume", run_dir.name]})["resume"]
    assert again.code == 0, again
    assert again.heavy == ["prefect"]
    done = [line for line in again.out.splitlines() if line.startswith("✓")]
    assert [line.split()[1] for line in done if "done before" not in line] == ["record", "register", "report"]
    assert json.loads((run_dir / "result.json").read_text()) == result
    events = [event for event, *_ in lines(project / "notes")[before:]]
    assert events == ["started"], "nothing else is news"


def test_plan_shows_what_is_done_already(inline):
    said = inline["plan"].out.splitlines()
    states = {line.split()[0]: line.split()[2:4] for line in said[2:]}
    assert states["evaluate:zero_shot"][0] == "reused"
    assert states["fit:lora"] == ["to", "do"]
    assert said[-1].split()[-2:] == ["7", "more"]


def test_run_wants_a_config_or_a_run(inline):
    assert inline["nothing"].code == 2
    assert "expected CONFIG or --resume RUN" in inline["nothing"].err
