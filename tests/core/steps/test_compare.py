"""The comparing step, on folders as the steps before it leave them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from stepladder.core.evaluation.score import write_predictions
from stepladder.core.steps.compare import run
from stepladder.core.types import Record
from stepladder.plugins.metrics.accuracy import Accuracy

CHOOSE = {"metric": None, "margin": 0.03, "max_forgetting": None, "max_fit_seconds": None}
COST_KEYS = {
    "trainable_parameters",
    "fit_seconds",
    "train_seconds",
    "trained_tokens",
    "replay_tokens",
    "peak_memory_bytes",
    "artifact_bytes",
    "evaluate_seconds",
    "written_tokens",
    "written_tokens_per_row",
    "prompt_tokens",
}


def records(right, rows):
    return [
        Record(f"row-{i}", f"question {i}", "yes", "yes" if i < right else "no", {"yes": -0.5, "no": -0.9})
        for i in range(rows)
    ]


class Run:
    """A comparison to be: candidates are added with the folders that their steps left."""

    def __init__(self, folder, task="classify", **choose):
        self.folder = folder
        self.scorer_faults = None
        self.spec = {
            "config": {"task": task, "choose": {**CHOOSE, **choose}},
            "base": None,
            "needs": {},
            "candidates": [],
            "failures": {},
        }

    def candidate(self, name, rung, parameters=0):
        settings = {"epochs": 1}
        self.spec["candidates"].append(
            {"id": name, "method": name, "rung": rung, "settings": settings, "needs": []}
        )
        result = {
            "trainable_parameters": parameters,
            "train_seconds": 4.0,
            "trained_tokens": 640,
            "replay_tokens": 71,
            "artifact_bytes": 2048,
            "report": {},
        }
        self.leave(f"fit:{name}", result, {"seconds": 6.5, "peak_memory_bytes": 2**30})

    def evaluated(self, name, test, validation, forgetting=None):
        retention = None
        if forgetting is not None:
            retention = {"perplexity_before": 10.0, "perplexity_after": 10.0 * (1 + forgetting)}
            retention["forgetting"] = forgetting
        written = {"written_tokens": 90, "written_tokens_per_row": 4.5, "scorer_faults": self.scorer_faults}
        result = {"retention": retention, "evaluate_seconds": 1.5, "merged": False, **written}
        folder = self.leave(f"evaluate:{name}", result)
        write_predictions(folder / "predictions.jsonl", test, Accuracy())
        write_predictions(folder / "validation_predictions.jsonl", validation, Accuracy())

    def leave(self, node, result, outcome=None):
        folder = self.folder / node.replace(":", "-")
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(result))
        if outcome:
            (folder / "outcome.json").write_text(json.dumps(outcome))
        self.spec["needs"][node] = str(folder)
        return folder

    def leave_memory(self, name, size):
        outcome = {"seconds": 6.5, "peak_memory_bytes": size}
        (self.folder / f"fit-{name}" / "outcome.json").write_text(json.dumps(outcome))

    def compare(self):
        told = run(self.spec, self.folder)
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        return told, {each["id"]: each for each in told["candidates"]}


@pytest.fixture
def ladder(tmp_path):
    """zero_shot 0.85, lora 0.86, full 0.95 on validation; on test zero_shot leads, which decides nothing."""
    ladder = Run(tmp_path)
    ladder.candidate("full", 2, 5000)
    ladder.evaluated("full", records(50, 100), records(190, 200), forgetting=0.2)
    ladder.candidate("zero_shot", 0)
    ladder.evaluated("zero_shot", records(90, 100), records(170, 200), forgetting=0.0)
    ladder.candidate("lora", 1.5, 400)
    ladder.evaluated("lora", records(88, 100), records(171, 200), forgetting=0.01)
    return ladder


def test_a_candidate_costs_what_those_cost_that_it_builds_on(ladder):
    """full builds on lora, and lora on zero_shot: three fits, the largest memory, its own answering."""
    by_id = {each["id"]: each for each in ladder.spec["candidates"]}
    by_id["full"]["needs"], by_id["lora"]["needs"] = ["lora", "zero_shot"], ["zero_shot"]
    ladder.leave_memory("zero_shot", 2**31)
    _, candidates = ladder.compare()
    cost = candidates["full"]["cost"]
    assert (cost["fit_seconds"], cost["train_seconds"], cost["trained_tokens"]) == (19.5, 12.0, 1920)
    assert (cost["peak_memory_bytes"], cost["evaluate_seconds"]) == (2**31, 1.5)
    assert (cost["trainable_parameters"], cost["artifact_bytes"]) == (5000, 2048)
    assert candidates["lora"]["cost"]["fit_seconds"] == 13.0
    assert candidates["zero_shot"]["cost"]["fit_seconds"] == 6.5


def test_what_a_fit_has_noted_stands_in_its_entry(ladder):
    path = ladder.folder / "fit-lora" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "notes": {"labelled": 3}}))
    _, candidates = ladder.compare()
    assert candidates["lora"]["notes"] == {"labelled": 3}
    assert "notes" not in candidates["full"]


def test_the_choice_is_made_on_validation_rows(ladder):
    told, candidates = ladder.compare()
    assert told["metric"] == "accuracy"
    assert told["choice"]["id"] == "full"
    assert "on 200 validation rows" in told["choice"]["reason"]
    assert list(candidates) == ["full", "zero_shot", "lora"]
    full = candidates["full"]
    assert (
        set(full["metrics"])
        == set(full["validation_metrics"])
        == {
            *("accuracy", "macro_f1", "calibration_error"),
        }
    )
    assert full["metrics"]["accuracy"] == {
        "value": 0.5,
        "low": pytest.approx(0.4038, abs=1e-4),
        "high": pytest.approx(0.5962, abs=1e-4),
    }
    assert full["validation_metrics"]["accuracy"]["value"] == 0.95
    assert full["retention"]["forgetting"] == 0.2


def test_answers_that_a_scorer_could_not_judge_are_told(tmp_path):
    run = Run(tmp_path)
    run.scorer_faults = {"raised": 1, "timed_out": 2, "died": 0}
    run.candidate("zero_shot", 0)
    run.evaluated("zero_shot", records(5, 9), records(5, 9))
    assert run.compare()[1]["zero_shot"]["scorer_faults"] == run.scorer_faults


def test_a_fit_that_was_taken_over_costs_what_it_cost_there(tmp_path):
    run = Run(tmp_path)
    run.candidate("lora", 1.5)
    place = tmp_path / "fit-lora" / "result.json"
    taken = {**json.loads(place.read_text()), "fit_seconds": 99.0, "peak_memory_bytes": 2**31}
    place.write_text(json.dumps(taken))
    run.evaluated("lora", records(5, 9), records(5, 9))
    cost = run.compare()[1]["lora"]["cost"]
    assert (cost["fit_seconds"], cost["peak_memory_bytes"]) == (99.0, 2**31)


def test_limits_of_the_config_apply(ladder):
    ladder.spec["config"]["choose"]["max_forgetting"] = 0.05
    told, _ = ladder.compare()
    assert told["choice"]["id"] == "zero_shot"
    assert "full (forgetting 0.2 is above max_forgetting 0.05)" in told["choice"]["reason"]


def test_costs_and_paths(ladder):
    _, candidates = ladder.compare()
    assert candidates["lora"]["cost"] == {
        "trainable_parameters": 400,
        "fit_seconds": 6.5,
        "train_seconds": 4.0,
        "trained_tokens": 640,
        "replay_tokens": 71,
        "peak_memory_bytes": 2**30,
        "artifact_bytes": 2048,
        "evaluate_seconds": 1.5,
        "written_tokens": 90,
        "written_tokens_per_row": 4.5,
        "prompt_tokens": None,
    }
    assert "scorer_faults" not in candidates["lora"], "nothing was scored"
    assert candidates["lora"]["artifact"] == str(ladder.folder / "fit-lora" / "artifact")
    assert candidates["lora"]["predictions"] == str(ladder.folder / "evaluate-lora" / "predictions.jsonl")


def test_each_is_compared_with_the_chosen_on_test_rows(ladder):
    _, candidates = ladder.compare()
    assert candidates["full"]["against_chosen"] is None
    against = candidates["zero_shot"]["against_chosen"]
    assert against["value"] == pytest.approx(0.4)
    assert against["low"] < 0.4 < against["high"]
    assert against["p_value"] == pytest.approx(2 / 2**40)


def test_failed_and_skipped_candidates_are_rows_of_the_table(ladder):
    ladder.candidate("soft_prompt", 0.5, 64)
    ladder.spec["candidates"].append(
        {"id": "both", "method": "ensemble", "rung": 2.5, "settings": {}, "needs": ["soft_prompt"]}
    )
    ladder.spec["failures"] = {
        "soft_prompt": {"status": "failed", "error": "out of memory"},
        "both": {"status": "skipped", "error": "skipped, since soft_prompt failed"},
    }
    told, candidates = ladder.compare()
    failed, skipped = candidates["soft_prompt"], candidates["both"]
    assert (failed["status"], failed["error"]) == ("failed", "out of memory")
    assert failed["metrics"] == failed["validation_metrics"] == {}
    assert failed["cost"]["trainable_parameters"] == 64
    assert skipped["status"] == "skipped"
    assert skipped["cost"] == dict.fromkeys(COST_KEYS)
    assert skipped["artifact"] is skipped["predictions"] is None
    assert told["choice"]["reason"].endswith("Left out: soft_prompt (failed); both (skipped).")
    assert "| 2.5 | both | skipped | - |" in told["table"]


def test_all_failed_leaves_no_choice(tmp_path):
    ladder = Run(tmp_path)
    ladder.candidate("lora", 1.5)
    ladder.spec["failures"] = {"lora": {"status": "failed", "error": "killed"}}
    told, _ = ladder.compare()
    assert told["choice"]["id"] is None
    assert "lora (failed)" in told["choice"]["reason"]


def test_a_diverged_candidate_has_failed(tmp_path):
    ladder = Run(tmp_path, task="text")
    for name, rung, nats in (("lora", 1.5, 60.0), ("pretrain", 2, float("nan"))):
        rows = [Record(f"row-{i}", "", "", "", negative_log_likelihood=nats + i, tokens=20) for i in range(8)]
        ladder.candidate(name, rung, 10)
        ladder.evaluated(name, rows, rows)
    told, candidates = ladder.compare()
    assert told["choice"]["id"] == "lora"
    assert candidates["pretrain"]["status"] == "failed"
    assert "perplexity is nan" in candidates["pretrain"]["error"]


def test_another_metric_may_choose_and_stands_in_the_table(ladder):
    ladder.spec["config"]["choose"]["metric"] = "macro_f1"
    told, candidates = ladder.compare()
    assert told["metric"] == "macro_f1"
    assert "macro_f1 (test)" in told["table"].splitlines()[0]
    assert candidates["zero_shot"]["against_chosen"]["p_value"] is None


def test_without_test_rows_there_is_a_choice_and_no_test_figure(tmp_path):
    ladder = Run(tmp_path)
    ladder.candidate("zero_shot", 0)
    ladder.evaluated("zero_shot", [], records(3, 4))
    told, candidates = ladder.compare()
    assert told["choice"]["id"] == "zero_shot"
    assert candidates["zero_shot"]["metrics"] == {}
    assert "| 0 | zero_shot (chosen) | - | 0.75 (" in told["table"]


def test_figures_by_slice_are_there_where_the_rows_have_slices(ladder):
    rows = enumerate(records(15, 100))
    sliced = [replace(row, slices={"area": "north" if i < 20 else ""}) for i, row in rows]
    ladder.candidate("sliced", 3, 1)
    ladder.evaluated("sliced", sliced, records(170, 200))
    _, candidates = ladder.compare()
    assert "slices" not in candidates["zero_shot"]
    area = candidates["sliced"]["slices"]["area"]
    north, unnamed = area["north"], area[""]
    assert set(north) == {"rows", "accuracy", "macro_f1", "calibration_error"}
    assert (north["rows"], north["accuracy"]["value"]) == (20, 0.75)
    assert (unnamed["rows"], unnamed["accuracy"]["value"]) == (80, 0.0)
    assert north["accuracy"]["low"] < 0.75 < north["accuracy"]["high"]


def test_of_a_column_with_very_many_values_the_largest_parts_are_told(ladder, capsys):
    rows = enumerate(records(50, 100))
    named = [replace(row, slices={"customer": f"{i % 64:02}"}) for i, row in rows]
    ladder.candidate("sliced", 3, 1)
    ladder.evaluated("sliced", named, records(170, 200))
    _, candidates = ladder.compare()
    told = candidates["sliced"]["slices"]["customer"]
    assert list(told) == [f"{i:02}" for i in range(50)]
    assert {part["rows"] for part in told.values()} == {1, 2}
    assert "customer has 64 values" in capsys.readouterr().out


def test_the_tables_behind_figures_are_left_beside_the_result(ladder, tmp_path):
    ladder.compare()
    tables = json.loads((tmp_path / "details" / "zero_shot.json").read_text())
    assert list(tables) == ["calibration_error"]
    assert [(each["rows"], each["accuracy"]) for each in tables["calibration_error"]] == [
        (10, 0.0),
        (90, 1.0),
    ]


def test_a_metric_that_does_not_apply_is_left_out_and_cannot_choose(ladder):
    test, validation = ([replace(row, scores=None) for row in records(50, rows)] for rows in (100, 200))
    ladder.candidate("voting", 3, 1)
    ladder.evaluated("voting", test, validation)
    _, candidates = ladder.compare()
    assert set(candidates["voting"]["metrics"]) == {"accuracy", "macro_f1"}
    assert candidates["voting"]["status"] == "ok"
    ladder.spec["config"]["choose"]["metric"] = "calibration_error"
    _, candidates = ladder.compare()
    assert candidates["voting"]["status"] == "failed"
    assert "calibration_error cannot be computed of its answers" in candidates["voting"]["error"]
    assert candidates["zero_shot"]["status"] == "ok"


@pytest.mark.parametrize("margin, chosen", [(0.03, "lora"), (0.3, "zero_shot")])
def test_the_margin_is_a_share_of_the_metrics_scale(tmp_path, margin, chosen):
    """chrF runs to 100, and the worse candidate is some 10 below that."""
    written = {
        "zero_shot": "a long answer of eight words or no",
        "lora": "a long answer of eight words or so",
    }
    ladder = Run(tmp_path, task="generate", metric="chrf", margin=margin)
    for rung, name in enumerate(written):
        rows = [Record(f"row-{i}", "", written["lora"], written[name]) for i in range(20)]
        ladder.candidate(name, rung)
        ladder.evaluated(name, rows, rows)
    told, candidates = ladder.compare()
    assert 75 < candidates["zero_shot"]["metrics"]["chrf"]["value"] < 95
    assert told["choice"]["id"] == chosen


SEARCH = {
    "trials": 6,
    "pruned": 2,
    "failed": 1,
    "split": "validation",
    "rows": 200,
    "metric": "accuracy",
    "value": 0.95,
    "space": {"epochs": [1, 2]},
    "best": {"epochs": 2},
    "seconds": 60.0,
}


def left_by_fit(ladder, name, **more):
    path = ladder.folder / f"fit-{name}" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def test_a_tuned_candidate_shows_the_settings_that_were_taken_and_the_choice_says_so(ladder):
    left_by_fit(ladder, "full", tuned=SEARCH, searched=None)
    told, candidates = ladder.compare()
    assert candidates["full"]["settings"] == {"epochs": 2}
    assert candidates["full"]["tuned"] == SEARCH
    assert "searched" not in candidates["full"] and "tuned" not in candidates["lora"]
    assert candidates["lora"]["settings"] == {"epochs": 1}
    assert (
        "Searched on the validation rows themselves: full (the best of 6 trials)" in told["choice"]["reason"]
    )


def test_a_search_on_train_rows_is_told_without_a_warning(ladder):
    left_by_fit(ladder, "zero_shot", searched={**SEARCH, "split": "train"})
    told, candidates = ladder.compare()
    assert candidates["zero_shot"]["searched"]["split"] == "train"
    assert "Searched on the validation rows" not in told["choice"]["reason"]
