"""Recording and registering against a real MLflow on SQLite, from several processes at once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN = {
    "name": "colours",
    "fingerprint": "f" * 64,
    "run_dir": "/runs/colours-f",
    "data_sha256": {"train": "1" * 64},
}
FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6}


def entry(name, **changes):
    about = {
        "id": name,
        "method": name,
        "rung": 1.0,
        "settings": {"rank": 2},
        "status": "ok",
        "error": None,
        "metrics": {"accuracy": FIGURE},
        "validation_metrics": {"accuracy": FIGURE},
        "retention": {"perplexity_before": 10.0, "perplexity_after": 11.0, "forgetting": 0.1},
        "cost": {"trainable_parameters": 12, "fit_seconds": 2.5, "trained_tokens": None},
    }
    return {**about, **changes}


def compared(*entries, chosen="lora"):
    return {"candidates": list(entries), "choice": {"id": chosen, "reason": "why"}, "table": "| t |\n"}


@pytest.fixture
def recording(tmp_path):
    from stepladder.core.tracking.record import Recording

    progress = tmp_path / "progress.jsonl"
    progress.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0, "validation_loss": 2.5}\n')
    failed = entry(
        "broken", status="failed", error="out of memory", metrics={}, validation_metrics={}, retention=None
    )
    return Recording(RUN, {"name": "colours"}, compared(entry("lora"), failed), {"lora": progress})


@pytest.fixture
def recorded(home, recording):
    from stepladder.core.tracking.record import record_run

    return record_run(recording)


@pytest.fixture
def client(recorded):
    from mlflow import MlflowClient

    return MlflowClient()


def all_runs(client):
    experiment = client.get_experiment_by_name("colours")
    return client.search_runs([experiment.experiment_id])


def test_a_run_and_its_candidates_are_recorded(client, recorded, home):
    parent = client.get_run(recorded.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["stepladder.fingerprint"] == RUN["fingerprint"]
    assert parent.data.tags["stepladder.data.train_sha256"] == "1" * 64
    assert parent.info.artifact_uri.startswith((home / "mlartifacts").as_uri())
    assert {file.path for file in client.list_artifacts(recorded.run_id)} == {"config.yaml", "table.md"}
    lora = client.get_run(recorded.candidates["lora"])
    assert lora.data.tags["mlflow.parentRunId"] == recorded.run_id
    assert lora.data.params == {"method": "lora", "rung": "1.0", "rank": "2"}
    assert lora.data.metrics == {
        "accuracy": 0.5,
        "validation_accuracy": 0.5,
        "perplexity_before": 10.0,
        "perplexity_after": 11.0,
        "forgetting": 0.1,
        "trainable_parameters": 12.0,
        "fit_seconds": 2.5,
        "curve/loss": 2.0,
        "curve/validation_loss": 2.5,
    }
    curve = client.get_metric_history(lora.info.run_id, "curve/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 3.0), (2, 2.0)]
    broken = client.get_run(recorded.candidates["broken"])
    assert (broken.info.status, broken.data.tags["stepladder.error"]) == ("FAILED", "out of memory")


def test_the_same_outcome_is_recorded_once_and_another_one_again(client, recorded, recording):
    from dataclasses import replace

    from stepladder.core.tracking.record import record_run

    assert record_run(recording) == recorded
    assert len(all_runs(client)) == 3
    mended = replace(recording, compared=compared(entry("lora"), entry("broken")))
    assert record_run(mended).run_id != recorded.run_id
    assert len(all_runs(client)) == 6


def test_what_a_killed_recording_left_is_made_anew(client, recorded, recording):
    from stepladder.core.tracking.record import COMPLETE, record_run

    client.delete_tag(recorded.run_id, COMPLETE)
    again = record_run(recording)
    assert again.run_id != recorded.run_id
    assert {run.info.run_id for run in all_runs(client)} == {again.run_id, *again.candidates.values()}
    assert client.get_run(recorded.run_id).info.status == "KILLED"


def test_an_experiment_in_the_bin_is_brought_back(client, recorded, recording):
    from stepladder.core.tracking.record import record_run

    client.delete_experiment(client.get_experiment_by_name("colours").experiment_id)
    record_run(recording)
    assert client.get_experiment_by_name("colours").lifecycle_stage == "active"


# Each process connects, records and registers the same run.
RACE = """
import json, shutil, sys
from stepladder.core.tracking.record import Recording, record_run
from stepladder.core.tracking.package import Chosen
from stepladder.core.tracking.register import register
run, compared = json.loads(sys.argv[1])
sys.stdin.read()
recorded = record_run(Recording(run, {}, compared, {}))
entry = compared["candidates"][0]
def pack(folder):
    shutil.copytree(sys.argv[2], folder, dirs_exist_ok=True)
chosen = Chosen("colours", run, entry, recorded.candidates[entry["id"]], pack)
registered = register(chosen)
print(json.dumps([recorded.run_id, registered.version, registered.created]))
"""


def pack(folder):
    """What MLflow has to know of a package."""
    (folder / "artifact").mkdir(parents=True)
    (folder / "artifact" / "adapter.json").write_text('{"method": "lora"}')
    base = {"name": "tiny", "path": "/bases/tiny", "fingerprint": "b" * 64}
    lineage = {"plugins": {"method:lora": "stepladder 0 ab"}, "licenses": {"base": "mit", "data": None}}
    asked = {"input": "the sky", "options": [], "messages": []}
    files = {
        "served.json": {"base": base},
        "candidate.json": {"run": RUN, "candidate": entry("lora")},
        "lineage.json": lineage,
        "recorded.jsonl": asked,
        "manifest.json": {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def test_four_processes_that_meet_a_new_store_make_one_run_and_one_version(new_home, tmp_path):
    pack(tmp_path / "package")
    given = json.dumps([RUN, compared(entry("lora"))])
    command = [sys.executable, "-c", RACE, given, str(tmp_path / "package")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    racing = [subprocess.Popen(command, env=dict(os.environ), **pipes) for _ in range(4)]
    for process in racing:
        process.stdin.close()
        process.stdin = None
    ended = [process.communicate(timeout=240) for process in racing]
    assert [process.returncode for process in racing] == [0] * 4, ended
    said = [json.loads(out) for out, _ in ended]
    assert len({run_id for run_id, *_ in said}) == 1
    assert {version for _, version, _ in said} == {"1"}
    assert sorted(created for *_, created in said) == [False, False, False, True]


@pytest.fixture
def chosen(recorded):
    from stepladder.core.tracking.package import Chosen

    return Chosen("colours", RUN, entry("lora"), recorded.candidates["lora"], pack)


def test_a_version_holds_the_adapter_the_base_it_needs_and_its_figures(chosen, client):
    import hashlib

    import mlflow
    from stepladder.core.tracking.package import LOADER
    from stepladder.core.tracking.register import register

    registered = register(chosen)
    assert (registered.version, registered.alias, registered.created) == ("1", "challenger", True)
    version = client.get_model_version_by_alias("colours", "challenger")
    assert version.tags["stepladder.loader_sha256"] == hashlib.sha256(LOADER.read_bytes()).hexdigest()
    folder = Path(mlflow.artifacts.download_artifacts("models:/colours@challenger"))
    served = folder / "artifacts" / "served"
    assert json.loads((served / "artifact" / "adapter.json").read_text()) == {"method": "lora"}
    assert json.loads((served / "served.json").read_text())["base"]["name"] == "tiny"
    assert json.loads((served / "candidate.json").read_text())["candidate"]["metrics"] == {"accuracy": FIGURE}
    assert (folder / "loader.py").read_bytes() == LOADER.read_bytes()
    assert not list(folder.rglob("*.pkl"))
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in requirements] == [
        "mlflow",
        "stepladder",
        "torch",
        "transformers",
    ]


def test_the_same_fingerprint_is_registered_once(chosen):
    from stepladder.core.tracking.register import register

    first, again = register(chosen), register(chosen)
    assert (again.version, again.created) == (first.version, False)


def test_a_version_that_has_lost_its_files_is_made_again(chosen, client):
    from urllib.parse import urlparse

    from stepladder.core.tracking.register import register

    register(chosen)
    where = client.get_model_version_download_uri("colours", "1")
    shutil.rmtree(urlparse(where).path)
    again = register(chosen)
    assert (again.version, again.created) == ("2", True)
    assert client.get_model_version_by_alias("colours", "challenger").version == 2
