"""The examples: their configs have no fault, all their rows are used, and their runs choose somebody.

The steps run in this process and on the tiny base, whose few words say nothing of the examples' rows: what
is tested is that each task goes from its rows to its figures.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
from stepladder.core.config import load_config
from stepladder.core.steps import plan
from stepladder.core.steps.graph import Graph

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS = sorted(EXAMPLES.glob("*/*.yaml"))
# What each task's own example is judged by.
FIGURES = {
    "choice": ["accuracy", "calibration_error"],
    "generate": ["chrf", "exact_match", "token_f1", "rouge_l", "bleu"],
    "extract": ["json_fields", "exact_match", "token_f1", "rouge_l", "bleu", "chrf", "json_valid"],
    "text": ["perplexity"],
    "regress": ["mean_absolute_error", "r2", "spearman"],
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_config_has_no_fault_and_says_what_it_is_for(path, registry):
    assert load_config(path, registry=registry).candidates
    assert path.read_text().splitlines()[1] == f"#   stepladder run examples/{path.parent.name}/{path.name}"


@pytest.fixture
def compare(tmp_path, base_folder, on_the_cpu):
    """Do the steps of an example up to the comparison, with one candidate; returns all their results."""

    def walk(task: str) -> dict[str, dict]:
        words = "" if task == "text" else ", max_new_tokens: 6"
        changes = [f"base={base_folder}", f"methods=[zero_shot: {{decoder: greedy{words}}}]"]
        spec = {"config": str(EXAMPLES / task / "stepladder.yaml"), "overrides": changes, "announce": False}
        planned = plan.run({**spec, "runs": str(tmp_path)}, tmp_path)
        results, folders = {}, {}
        for node in Graph.from_json(planned["graph"]).nodes:
            if node.kind not in ("record", "report"):
                folder = tmp_path / node.id.replace(":", "-")
                folder.mkdir()
                needs = {needed: str(folders[needed]) for needed in node.needs}
                step = import_module(f"stepladder.core.steps.{node.kind}")
                about = {"fingerprint": node.fingerprint, "scratch": f"{folder}.scratch"}
                results[node.id] = step.run({**node.spec, **about, "needs": needs, "failures": {}}, folder)
                (folder / "result.json").write_text(json.dumps(results[node.id]))
                folders[node.id] = folder
        return results

    return walk


@pytest.mark.parametrize("task", FIGURES)
def test_an_example_goes_from_its_rows_to_its_figures(task, compare):
    results = compare(task)
    for split, counts in results["render"]["data"].items():
        lost = {
            key: counts[key] for key in ("quarantined", "duplicates", "leaked", "over_limit", "truncated")
        }
        assert lost == dict.fromkeys(lost, 0), split
        assert counts["kept"] >= 5
    compared = results["compare"]
    assert compared["choice"]["id"] == "zero_shot", compared["candidates"][0]["error"]
    (candidate,) = compared["candidates"]
    assert list(candidate["metrics"]) == FIGURES[task]
    assert compared["metric"] == FIGURES[task][0]
