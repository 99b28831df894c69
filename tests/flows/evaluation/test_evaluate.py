"""The command `evaluate`: real versions and candidates on the tiny base, real MLflow."""

import json
from pathlib import Path

import pytest

VERSION, LORA = "models:/colours@challenger", "runs/colours-*/candidates/lora/artifact"
COMMANDS = {
    "run": ["run", "colours.yaml", "--engine", "inline"],
    "version": ["evaluate", VERSION, "colours.yaml"],
    "again": ["evaluate", "colours/1", "colours.yaml"],
    "mixed": ["evaluate", "models:/colours/1", "mixed.yaml", "--runs", "elsewhere"],
    "candidate": ["evaluate", LORA, "colours.yaml"],
    "no name": ["evaluate", "models:/colour@challenger", "colours.yaml"],
    "no config": ["evaluate", VERSION, "colour.yaml"],
    "other task": ["evaluate", VERSION, "written.yaml"],
}


@pytest.fixture(scope="module")
def ended(project):
    return project.stepladder(COMMANDS)


@pytest.fixture(scope="module")
def candidate(ended, project):
    """The entry of the run's one candidate."""
    assert ended["run"].code == 0, ended["run"]
    (path,) = project.folder.glob("runs/colours-*/result.json")
    (entry,) = json.loads(path.read_text())["candidates"]
    return entry


@pytest.fixture(scope="module")
def results(ended, project):
    """What every evaluation left, by its folder below the project, with the predictions."""
    found = {}
    for path in project.folder.glob("*/evaluations/*/result.json"):
        place = path.parent.relative_to(project.folder).as_posix().rpartition("-")[0]
        found[place] = (json.loads(path.read_text()), lines(path.parent / "predictions.jsonl"))
    return found


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_parent_holds_no_heavy_library(ended):
    assert {name: each.heavy for name, each in ended.items()} == {name: [] for name in COMMANDS}


def test_a_version_has_the_figures_and_answers_of_its_run(ended, candidate, results):
    assert ended["version"].code == 0, ended["version"]
    result, predictions = results["runs/evaluations/colours-1"]
    assert result["metrics"] == candidate["metrics"]
    assert predictions == lines(Path(candidate["predictions"]))
    assert (result["model"], result["task"]) == ("models:/colours/1", "classify")
    assert (result["data"]["test"]["kept"], result["trained_on"]) == (24, 0)


def test_the_figures_are_printed_with_intervals(ended, results):
    said = ended["version"].out.splitlines()
    result, _ = results["runs/evaluations/colours-1"]
    figure = {end: f"{value:.3g}" for end, value in result["metrics"]["accuracy"].items()}
    row = next(line.split() for line in said if line.startswith("accuracy"))
    assert row == ["accuracy", figure["value"], f"({figure['low']}", "to", f"{figure['high']})"]
    assert f"models:/colours/1 on 24 test rows of {result['config']}; it was trained on none of them" in said
    assert f"Result folder: {result['folder']}" in said


def test_rows_it_was_trained_on_are_counted_and_forged_ones_are_left_out(ended, results, project):
    assert ended["mixed"].code == 0, ended["mixed"]
    result, _ = results["elsewhere/evaluations/colours-1"]
    account = result["data"]["test"]
    assert (account["read"], account["kept"], account["quarantined"]) == (16, 15, 1)
    assert result["trained_on"] == 5, "rows that its run held out for validation, too"
    assert f"it was trained on {result['trained_on']} of them" in ended["mixed"].out


def test_a_candidate_has_the_figures_of_its_run_and_an_unknown_past(ended, candidate, results):
    assert ended["candidate"].code == 0, ended["candidate"]
    result, _ = results["runs/evaluations/lora"]
    assert result["metrics"] == candidate["metrics"]
    assert result["trained_on"] is None
    assert "nobody wrote down which rows it was trained on" in ended["candidate"].out


def test_an_evaluation_is_one_run_of_mlflow_with_the_tags_of_its_version(ended, results, project):
    from mlflow import MlflowClient

    assert ended["again"].code == 0, ended["again"]
    client = MlflowClient(f"sqlite:///{project.folder / 'home' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("colours").experiment_id
    wanted = "tags.`stepladder.model` = 'colours' and tags.`stepladder.version` = '1'"
    runs = {run.data.tags["stepladder.evaluation"]: run for run in client.search_runs([experiment], wanted)}
    result, _ = results["runs/evaluations/colours-1"]
    mixed, _ = results["elsewhere/evaluations/colours-1"]
    assert set(runs) == {result["fingerprint"], mixed["fingerprint"]}, "the same one again is no other"
    run, version = runs[result["fingerprint"]], client.get_model_version("colours", "1")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy"] == result["metrics"]["accuracy"]["value"]
    assert run.data.metrics["accuracy_low"] == result["metrics"]["accuracy"]["low"]
    assert run.data.metrics["rows"] == 24
    assert run.data.tags["stepladder.fingerprint"] == version.tags["stepladder.fingerprint"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no name", "no registered model 'colour' (did you mean 'colours'?)"),
        ("no config", "no such file"),
        ("other task", "models:/colours/1 does the task 'classify'"),
    ],
)
def test_what_is_wrong_is_said(ended, name, said):
    assert ended[name].code == 2, ended[name]
    assert said in ended[name].err


def test_nothing_half_written_is_left(ended, project):
    found = {path.name for path in (project.folder / "runs" / "evaluations").iterdir()}
    assert len(found) == 2, found
    assert not [name for name in found if name.startswith(".")]
