"""The run's folder, made by the real step from what fakes left."""

import json
from pathlib import Path

import pytest
from fakes.small import graph
from stepladder.core.steps import report
from stepladder.core.steps.execute import execute


@pytest.fixture
def make(store, children, tmp_path):
    """Do all steps of a run with fakes, then its report for real; returns the run's folder."""

    def make_run(name="run", **changes):
        run_dir = tmp_path / "runs" / name
        run = {
            "name": "a-run",
            "fingerprint": changes.pop("fingerprint", "f" * 64),
            "run_dir": str(run_dir),
            "data_sha256": {"train": "1", "test": "2"},
            "origins": {"name": "file"},
        }
        outcomes = {}
        for node in graph(**changes).with_run(run).nodes:
            folders = {needed: outcomes[needed].folder for needed in node.needs}
            outcomes[node.id] = execute(node, folders, store, children, lambda line: None)
        spec = json.loads((outcomes["report"].folder / "spec.json").read_text())
        assert report.run(spec, tmp_path) == {"run_dir": str(run_dir)}
        return run_dir

    return make_run


def result_of(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def test_a_whole_run(make):
    run_dir = make()
    assert {path.name for path in run_dir.iterdir()} == {
        *("result.json", "report.md", "config.yaml", "run.json", "quarantine.jsonl", "logs", "candidates"),
    }
    assert {path.name for path in (run_dir / "candidates" / "lora").iterdir()} == {
        *("artifact", "progress.jsonl", "predictions.jsonl"),
    }
    assert (run_dir / "logs" / "fit-lora.txt").read_text() == "fit at work\n"
    assert [path.name for path in run_dir.parent.iterdir() if path.name.startswith(".")] == []


def test_the_tables_behind_the_figures_of_the_chosen_are_shown(make):
    run_dir = make()
    assert "## accuracy of zero in detail (test)" in (run_dir / "report.md").read_text()
    details = json.loads((run_dir / "candidates" / "zero" / "details.json").read_text())
    assert details == {"accuracy": [{"rows": 7, "share": 0.25}]}
    assert not (run_dir / "candidates" / "lora" / "details.json").exists()


def test_figures_by_slice_are_told_of_candidates_that_have_them(make):
    run_dir = make(fail={"fit:lora": "error"})
    zero, lora = result_of(run_dir)["candidates"]
    assert zero["slices"]["area"]["north"]["rows"] == 3
    assert "slices" not in lora
    assert "| north | 3 | 0.5 (0.4 to 0.6) |" in (run_dir / "report.md").read_text()


def test_a_failed_candidate_keeps_its_curves_and_its_log(make):
    run_dir = make(fail={"fit:lora": "kill"})
    lora = result_of(run_dir)["candidates"][1]
    assert (lora["status"], lora["artifact"], lora["predictions"]) == ("failed", None, None)
    assert "SIGKILL" in lora["error"]
    assert [path.name for path in (run_dir / "candidates" / "lora").iterdir()] == ["progress.jsonl"]
    page = (run_dir / "report.md").read_text()
    assert "**fit:lora**" in page
    assert f"stepladder run --resume {run_dir}" in page
    assert result_of(run_dir)["status"] == "ok"


def test_a_run_that_could_not_be_recorded_keeps_its_choice_and_says_how_to_go_on(make):
    run_dir = make(fail={"record": "error"}, register="support")
    result = result_of(run_dir)
    assert (result["status"], result["choice"]["id"], result["registered"]) == ("failed", "zero", None)
    page = (run_dir / "report.md").read_text()
    assert "**record**\n\n```\nValueError: record went wrong\n```" in page
    assert f"stepladder register {run_dir}" in page
    assert "--resume" not in page


def test_a_run_whose_rows_are_wrong_keeps_the_quarantine(make):
    run_dir = make(fail={"read": "input"})
    result = result_of(run_dir)
    assert (result["status"], result["choice"]["id"]) == ("failed", None)
    assert result["choice"]["reason"] == "read: read: the input is wrong"
    assert json.loads((run_dir / "quarantine.jsonl").read_text())["line"] == 3


def test_a_second_report_takes_the_place_of_the_first(make):
    run_dir = make(fail={"fit:lora": "error"})
    (run_dir / "stale").touch()
    make()
    assert not (run_dir / "stale").exists()
    assert {each["status"] for each in result_of(run_dir)["candidates"]} == {"ok"}


def test_the_report_counts_the_runs_that_the_same_test_rows_have_judged(make):
    assert "judged no other run" in (make("one") / "report.md").read_text()
    assert "judged no other run" in (make("one") / "report.md").read_text(), "the same run again is no other"
    assert (
        "judged 1 other run in this folder" in (make("two", fingerprint="e" * 64) / "report.md").read_text()
    )


def test_the_files_of_the_run_cost_no_second_copy(make, store):
    run_dir = make()
    (kept,) = store.folder.glob(f"fit-{graph().nodes[5].fingerprint[:16]}")
    assert graph().nodes[5].id == "fit:lora"
    assert Path(kept, "artifact", "adapter.json").samefile(run_dir / "candidates/lora/artifact/adapter.json")
