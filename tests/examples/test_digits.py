"""The example of data that is not text, through all its steps: what is promised of it, and what it leaves."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
from stepladder.core.errors import ModelError
from stepladder.core.package.layout import asked_rows
from stepladder.core.package.pack import Contents, pack
from stepladder.core.package.served import load_served
from stepladder.core.package.verify import verify_artifact, verify_package
from stepladder.core.steps import plan
from stepladder.core.steps.graph import Graph

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "stepladder.yaml"
# A part of the example's training, in which the order of the methods shows already.
RIVALS = ("random_search", "classifier_ascent")
SHORTER = [
    *(f"methods.{method}.epochs=25" for method in ("autoencoder", "vae")),
    *(f"methods.{method}.epochs=10" for method in RIVALS),
    "methods.random_search.tries=100",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All steps but that of MLflow, in this process; returns the plan, and each step's folder and result."""
    folder = tmp_path_factory.mktemp("digits")
    spec = {"config": str(EXAMPLE), "overrides": SHORTER, "announce": False, "runs": str(folder / "runs")}
    planned = plan.run(spec, folder)
    results, folders = {}, {}
    for node in Graph.from_json(planned["graph"]).nodes:
        if node.kind != "record":
            folders[node.id] = folder / node.id.replace(":", "-")
            folders[node.id].mkdir()
            needs = {needed: str(folders[needed]) for needed in node.needs if needed in folders}
            step = import_module(f"stepladder.core.steps.{node.kind}")
            about = {"fingerprint": node.fingerprint, "scratch": f"{folders[node.id]}.scratch"}
            given = {**node.spec, **about, "needs": needs, "failures": {}, "failed": {}}
            results[node.id] = step.run(given, folders[node.id])
            (folders[node.id] / "result.json").write_text(json.dumps(results[node.id]))
    return planned, results, folders


def figures(run, metric):
    return {each["id"]: each["metrics"][metric]["value"] for each in run[1]["compare"]["candidates"]}


def test_every_row_is_in_its_split(run):
    data = run[1]["render"]["data"]
    assert data["test"]["kept"] == 359
    assert data["train"]["kept"] + data["validation"]["kept"] == 1438
    assert data["train"]["quarantined"] == data["train"]["leaked"] == data["train"]["duplicates"] == 0


def test_the_vae_beats_the_autoencoder_and_both_beat_the_rivals(run):
    candidates = run[1]["compare"]["candidates"]
    assert [each["error"] for each in candidates] == [None] * 4
    accepted, distance = figures(run, "acceptance"), figures(run, "frechet_distance")
    various = figures(run, "diversity")
    assert accepted["vae"] > 0.8
    assert accepted["vae"] > accepted["autoencoder"] + 0.2
    assert distance["vae"] < distance["autoencoder"] / 2
    for rival in RIVALS:
        assert accepted["autoencoder"] > accepted[rival] + 0.1
        assert distance["autoencoder"] < distance[rival]
        assert various["autoencoder"] > various[rival]
    assert run[1]["compare"]["choice"]["id"] == "vae"


def test_only_who_keeps_something_of_a_row_is_asked_for_it(run):
    told = {each["id"]: set(each["metrics"]) for each in run[1]["compare"]["candidates"]}
    of_samples = {"acceptance", "frechet_distance", "diversity"}
    assert told["random_search"] == told["classifier_ascent"] == of_samples
    assert told["autoencoder"] == {*of_samples, "reconstruction_error"}
    assert told["vae"] == {*of_samples, "reconstruction_error", "evidence_bound"}


def test_the_report_shows_samples_of_each(run):
    place = Path(run[0]["run"]["run_dir"])
    page = (place / "report.md").read_text()
    for name in (*RIVALS, "autoencoder", "vae"):
        assert f"![answers of {name}](candidates/{name}/picture.png)" in page
        assert (place / "candidates" / name / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_winner_is_packed_proven_and_asked_by_label(run, tmp_path):
    planned, results, folders = run
    entry = next(each for each in results["compare"]["candidates"] if each["id"] == "vae")
    artifact = Path(planned["run"]["run_dir"], "candidates", "vae", "artifact")
    assert verify_artifact(artifact)["answers"] == "8 rows of predictions.jsonl answered as then"
    base = planned["graph"][0]["spec"]["base"]
    pack(Contents(planned["run"], entry, base, planned["config"], folders["render"]), tmp_path)
    assert verify_package(tmp_path)["base"] == "none, and none needed"
    served = load_served(tmp_path)
    assert {row["input"] for row in asked_rows(tmp_path)} <= set("0123456789")
    seven, other = served.answer([{"input": "7"}, {"input": "7"}])
    assert len(json.loads(seven)) == 64 and seven != other
    with pytest.raises(ModelError, match="row 1: no label 'seven'"):
        served.answer([{"input": "seven"}])
