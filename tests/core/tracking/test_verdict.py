"""The step that judges, with a real MLflow: what its tags and its file say, and what plugins hear of a no."""

import json
from pathlib import Path

import pytest

RECORD = {"input": "", "expected": "yes", "score": None, "slices": {}}
ENTRY = {
    "retention": {"perplexity_before": 10.0, "perplexity_after": 10.4, "forgetting": 0.04},
    "cost": {"artifact_bytes": 1_500_000},
}
LISTENER = """
from stepladder.core.hookspecs import hookimpl
from stepladder.core.gate import Gate
import json, os

STEPLADDER_API = 1


class Broken(Gate):
    name = "x_broken"

    def judge(self, contest):
        return 1 / 0


@hookimpl
def stepladder_gates():
    return [Broken]


@hookimpl
def stepladder_rejected(promotion):
    with open(os.environ["HEARD"], "a") as file:
        file.write(json.dumps(promotion))
"""


@pytest.fixture
def heard(install, monkeypatch, tmp_path):
    """What a plugin heard, which also has a gate that always fails."""
    install("listener", LISTENER)
    monkeypatch.setenv("HEARD", str(tmp_path / "heard.json"))
    return tmp_path / "heard.json"


@pytest.fixture
def registered(client):
    """Version 1 of `intents`, behind which a logged model stands, in a run."""
    from stepladder.core.tracking.client import experiment_id

    run = client.create_run(experiment_id(client, "colours"))
    model = client.create_logged_model(run.info.experiment_id, source_run_id=run.info.run_id)
    client.create_registered_model("intents")
    return client.create_model_version("intents", f"models:/{model.model_id}", run.info.run_id)


def answers(outcomes):
    said = ("yes" if outcome == "1" else "no" for outcome in outcomes)
    rows = ({"id": f"row-{place}", "predicted": answer, **RECORD} for place, answer in enumerate(said))
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def judge(tmp_path):
    """Runs the step on what the steps before it would have left; returns its result and its folder."""
    from stepladder.core.steps import judge as step

    def run(gates, ours="1110", theirs="1001", name="intents", **changes):
        number = len(list(tmp_path.glob("judge-*")))
        contest, rescore, folder = (tmp_path / f"{kind}-{number}" for kind in ("contest", "rescore", "judge"))
        for each in (contest / "challenger", contest / "champion", rescore, folder):
            each.mkdir(parents=True)
        config = {"task": "classify", "choose": {"metric": None}}
        files = {"candidate": {"candidate": ENTRY}, "lineage": {"config": config}, "served": {"labels": []}}
        for package in ("challenger", "champion"):
            for file, content in files.items():
                (contest / package / f"{file}.json").write_text(json.dumps(content))
        found = {
            "name": name,
            "challenger": {"version": "1", "fingerprint": "f1"},
            "champion": {"version": "7", "fingerprint": "f7", "fault": ""} if theirs else None,
            "already": False,
            "gates": gates,
            "approval": "",
            **changes,
        }
        rescored = {
            "champion_fault": "",
            "excluded": 2,
            "test_sha256": "e" * 64,
            "seconds_per_row": {"challenger": [0.1, 0.2], "champion": [0.3]},
        }
        (contest / "result.json").write_text(json.dumps(found))
        (rescore / "result.json").write_text(json.dumps({} if found["already"] else rescored))
        (rescore / "challenger.jsonl").write_text(answers(ours))
        (rescore / "champion.jsonl").write_text(answers(theirs))
        return step.run({"needs": {"contest": str(contest), "rescore": str(rescore)}}, folder), folder

    return run


def tags(client, name="intents"):
    return dict(client.get_model_version(name, "1").tags)


def file_of(name="intents"):
    import mlflow

    place = f"models:/{name}/1/promotion/{name}/1/verdict.json"
    return json.loads(Path(mlflow.artifacts.download_artifacts(place)).read_text())


def test_what_every_gate_said_is_told_by_tags_and_a_file_of_the_version(judge, client, registered):
    told, folder = judge([{"better_than_champion": {"margin": 0.0}}, {"size": {"most_megabytes": 2.0}}])
    written = tags(client)
    about = {key: written.pop(f"stepladder.gate.better_than_champion.{key}") for key in ("low", "high")}
    assert [round(float(about[key]), 4) for key in ("low", "high")] == [-0.5515, 0.8848]
    reason = written["stepladder.gate.better_than_champion"]
    assert reason.startswith("passed: accuracy 0.75 against the champion's 0.5 on 4 rows (2 more, ")
    assert written == {
        "stepladder.verdict": "passed",
        "stepladder.verdict.reason": "passed: 2 of 2 gates",
        "stepladder.test_sha256": "e" * 64,
        "stepladder.gate.better_than_champion": reason,
        "stepladder.gate.better_than_champion.challenger": "0.75",
        "stepladder.gate.better_than_champion.champion": "0.5",
        "stepladder.gate.better_than_champion.difference": "0.25",
        "stepladder.gate.better_than_champion.rows": "4",
        "stepladder.gate.better_than_champion.excluded": "2",
        "stepladder.gate.size": "passed: its files have 1.5 MB, allowed are at most 2 MB",
        "stepladder.gate.size.megabytes": "1.5",
    }
    assert told == file_of() == json.loads((folder / "verdict.json").read_text())
    assert (told["name"], told["version"], told["champion"]) == ("intents", "1", "7")
    assert (told["verdict"], told["test_sha256"]) == ("passed", "e" * 64)
    assert told["gates"][1] == {
        "gate": "size",
        "settings": {"most_megabytes": 2.0},
        "passed": True,
        "reason": "its files have 1.5 MB, allowed are at most 2 MB",
        "figures": {"megabytes": 1.5},
    }


def test_a_no_tells_every_gates_reason_and_plugins_hear_of_it(judge, client, registered, heard):
    from stepladder.core.errors import GateError

    gates = [{"size": {"most_megabytes": 1.0}}, {"no_forgetting": {"most": 0.05}}, {"x_broken": {}}]
    with pytest.raises(GateError) as raised:
        judge([*gates, {"gone": {}}])
    assert raised.value.exit_code == 3
    assert str(raised.value).splitlines() == [
        "intents: version 1 is not promoted, version 7 stays champion",
        "  - size refused: its files have 1.5 MB, allowed are at most 1 MB",
        "  - no_forgetting passed: perplexity on the retain text went from 10 to 10.4, by +4.00%; "
        "allowed is at most +5.00%",
        "  - x_broken refused: the gate itself failed: ZeroDivisionError: division by zero",
        "  - gone refused: no gate 'gone'; `stepladder plugins` lists them",
    ]
    reason = (
        "size refused: its files have 1.5 MB, allowed are at most 1 MB; "
        "x_broken refused: the gate itself failed: ZeroDivisionError: division by zero; "
        "gone refused: no gate 'gone'; `stepladder plugins` lists them"
    )
    written = tags(client)
    assert (written["stepladder.verdict"], written["stepladder.verdict.reason"]) == ("rejected", reason)
    assert written["stepladder.gate.no_forgetting.forgetting"] == "0.04"
    assert file_of()["verdict"] == "rejected"
    assert json.loads(heard.read_text()) == {
        "name": "intents",
        "version": "1",
        "previous": "7",
        "reason": reason,
    }


def test_a_later_verdict_leaves_nothing_of_an_earlier_one(judge, client, registered):
    from stepladder.core.errors import GateError

    with pytest.raises(GateError):
        judge([{"better_than_champion": {"margin": 0.9}}, {"minimum": {"value": 0.7}}])
    client.set_model_version_tag("intents", "1", "team", "search")
    judge([{"minimum": {"value": 0.75}}], theirs="")
    written = tags(client)
    assert {tag for tag in written if not tag.startswith("stepladder.gate.minimum")} == {
        *("stepladder.verdict", "stepladder.verdict.reason", "stepladder.test_sha256", "team")
    }
    assert written["stepladder.verdict"] == "passed"
    assert "asked for is at least 0.75" in written["stepladder.gate.minimum"]
    assert [each["gate"] for each in file_of()["gates"]] == ["minimum"]
    assert file_of()["champion"] is None


def test_a_copy_in_another_registered_model_keeps_a_verdict_of_its_own(judge, client, registered):
    client.create_registered_model("prod.intents")
    client.create_model_version("prod.intents", "models:/intents/1", registered.run_id)
    judge([{"minimum": {"value": 0.7}}])
    judge([{"size": {"most_megabytes": 2.0}}], name="prod.intents")
    assert [each["gate"] for each in file_of()["gates"]] == ["minimum"]
    assert [each["gate"] for each in file_of("prod.intents")["gates"]] == ["size"]
    assert "stepladder.gate.size" not in tags(client)


def test_without_a_logged_model_the_file_is_the_runs(judge, client, registered):
    client.create_registered_model("older")
    client.create_model_version("older", "runs:/x/model", registered.run_id)
    judge([{"minimum": {"value": 0.7}}], name="older")
    listed = client.list_artifacts(registered.run_id, "promotion/older/1")
    assert [file.path for file in listed] == ["promotion/older/1/verdict.json"]


def test_nothing_is_judged_where_the_challenger_is_champion_already(judge, client, registered):
    told, folder = judge([{"minimum": {"value": 1.0}}], already=True)
    assert (told, list(folder.iterdir()), tags(client)) == ({}, [], {})


def test_tags_keep_within_the_limits_of_mlflow(client, registered):
    from stepladder.core.evaluation.judging import Judgement
    from stepladder.core.gate import Verdict
    from stepladder.core.tracking.verdict import Ruling, tags_of

    figures = {"share of `a/b`": 0.5, "long" * 100: 1}
    said = Judgement("wordy", {}, Verdict(False, "x" * 9000, figures))
    written = tags_of(Ruling("intents", "1", None, [said], "e" * 64, "now"))
    assert written["stepladder.gate.wordy.share of _a_b_"] == "0.5"
    assert {len(key) for key in written if "longlong" in key} == {250}
    assert len(written["stepladder.gate.wordy"]) == len(written["stepladder.verdict.reason"]) == 5000
    for key, value in written.items():
        client.set_model_version_tag("intents", "1", key, value)
    assert tags(client) == written
