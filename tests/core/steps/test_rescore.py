"""A champion answers a challenger's test rows: real candidates, packed as they are registered."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import pytest

# Of the toy rows: what the champion was trained on, and the challenger's test rows, 4 of them among those.
SEEN, TEST = slice(0, 40), slice(36, 64)


@pytest.fixture
def rows(toy):
    examples = [*toy.train.examples(), *toy.validation.examples()]
    assert len({example.input for example in examples}) == 64
    return [replace(example, slices={"half": str(place % 2)}) for place, example in enumerate(examples)]


@pytest.fixture
def make_package(toy, rows, registry, tmp_path):
    """Fits a method on the train rows, answers the test rows, and packs it in `folder`."""
    from stepladder.core.data.store import EXAMPLE_FEATURES, SplitWriter, example_batch
    from stepladder.core.evaluation.score import records, write_predictions
    from stepladder.core.model.adapter import Description, build_method, write_adapter
    from stepladder.core.model.base import load_base
    from stepladder.core.model.locate import BaseRef, folder_fingerprint
    from stepladder.core.package.pack import Contents, pack
    from stepladder.core.training.context import FitContext

    schema = {"task": "classify", "instruction": toy.instruction, "labels": list(toy.labels)}

    def write_split(folder, examples):
        with SplitWriter(folder, EXAMPLE_FEATURES) as writer:
            writer.write(example_batch(list(enumerate(examples, start=1))))

    def make(folder, method, train, test, base_folder):
        work = tmp_path / f"fit-{folder.name}"
        rendered = work / "render"
        rendered.mkdir(parents=True)
        write_split(rendered / "train", train[:-2])
        write_split(rendered / "validation", train[-2:])
        write_split(rendered / "test", test)
        (rendered / "account.json").write_text("{}")
        ref = BaseRef(str(base_folder), str(base_folder), folder_fingerprint(base_folder))
        data = replace(toy, train=replace(toy.train, rows=train, tokens=()))
        adapted = build_method(method, {}, registry).fit(load_base(ref), data, FitContext(work))
        about = Description(method, {}, "stepladder", "1", ref.name, ref.fingerprint, schema)
        write_adapter(work / "artifact", adapted, about)
        accuracy = registry.metric("accuracy")()
        write_predictions(work / "predictions.jsonl", records(test, adapted.predict(test)), accuracy)
        contents = Contents(
            run={"name": "toy", "fingerprint": "f" * 64, "run_dir": "", "data_sha256": {}, "commit": None},
            entry={
                "id": method,
                "method": method,
                "settings": {},
                "metrics": {},
                "artifact": str(work / "artifact"),
                "predictions": str(work / "predictions.jsonl"),
            },
            base=asdict(ref),
            config={
                "task": "classify",
                "choose": {"metric": None},
                "data": dict.fromkeys(("train", "validation", "test")),
            },
            rendered=rendered,
        )
        folder.mkdir(parents=True)
        pack(contents, folder)
        return adapted

    return make


@pytest.fixture
def challenger(make_package, rows, base_folder, tmp_path):
    """In the folder that the step before leaves."""
    make_package(tmp_path / "contest" / "challenger", "zero_shot", rows[20:36], rows[TEST], base_folder)
    return tmp_path / "contest" / "challenger"


@pytest.fixture
def rescore(tmp_path):
    """Runs the step; returns its result and its folder."""
    from stepladder.core.steps import rescore as step

    def run(**found):
        contest = {"challenger": {"version": "3"}, "champion": None, "already": False, **found}
        (tmp_path / "contest" / "result.json").write_text(json.dumps(contest))
        folder = tmp_path / "rescore"
        folder.mkdir()
        return step.run({"needs": {"contest": str(tmp_path / "contest")}}, folder), folder

    return run


CHAMPION = {"version": "2", "fingerprint": "f2", "fault": ""}


def test_the_champion_answers_the_rows_it_was_not_trained_on(
    make_package, challenger, rescore, rows, base_folder, tmp_path
):
    import hashlib

    from stepladder.core.evaluation.score import read_predictions, records

    package = tmp_path / "contest" / "champion"
    fitted = make_package(package, "linear_probe", rows[SEEN], rows[:8], base_folder)
    result, folder = rescore(champion=CHAMPION)
    assert (result["champion_fault"], result["excluded"]) == ("", 4)
    evidence = challenger / "evidence"
    assert result["test_sha256"] == hashlib.sha256((evidence / "test.jsonl").read_bytes()).hexdigest()
    theirs = read_predictions(folder / "champion.jsonl")
    expected = records(rows[40:64], fitted.predict(rows[40:64]))
    assert [(each.id, each.predicted, each.slices) for each in theirs] == [
        (each.id, each.predicted, each.slices) for each in expected
    ]
    assert read_predictions(folder / "challenger.jsonl") == read_predictions(evidence / "predictions.jsonl")
    seconds = result["seconds_per_row"]
    assert [len(seconds[role]) for role in ("challenger", "champion")] == [20, 20]
    assert all(0 < each < 60 for role in seconds for each in seconds[role])


def test_without_a_champion_only_the_challenger_is_proven_and_timed(challenger, rescore):
    result, folder = rescore()
    assert (result["champion_fault"], result["excluded"]) == ("", 0)
    assert (len(result["seconds_per_row"]["challenger"]), result["seconds_per_row"]["champion"]) == (20, [])
    assert len((folder / "challenger.jsonl").read_text().splitlines()) == 28
    assert (folder / "champion.jsonl").read_text() == ""


def test_a_champion_whose_base_is_gone_is_told_and_no_failure(
    make_package, challenger, rescore, rows, base_folder, tmp_path
):
    copy = shutil.copytree(base_folder, tmp_path / "old-base")
    make_package(tmp_path / "contest" / "champion", "zero_shot", rows[SEEN], rows[:8], copy)
    shutil.rmtree(copy)
    result, folder = rescore(champion=CHAMPION)
    assert result["champion_fault"].startswith(f"the base {copy} is needed as it was")
    assert (result["excluded"], result["seconds_per_row"]["champion"]) == (0, [])
    assert (folder / "champion.jsonl").read_text() == ""


def test_a_champion_whose_package_is_broken_is_told_and_no_failure(challenger, rescore, tmp_path):
    shutil.copytree(challenger, tmp_path / "contest" / "champion")
    (tmp_path / "contest" / "champion" / "evidence" / "train.safetensors").unlink()
    assert "train.safetensors" in rescore(champion=CHAMPION)[0]["champion_fault"]


def test_a_champion_that_could_not_be_fetched_keeps_that_fault(challenger, rescore):
    result, _ = rescore(champion={**CHAMPION, "fault": "version 2 has no package"})
    assert result["champion_fault"] == "version 2 has no package"


def test_a_challenger_that_is_not_as_registered_goes_no_further(challenger, rescore):
    from stepladder.core.errors import ModelError

    with (challenger / "evidence" / "predictions.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ModelError, match=r"evidence/predictions\.jsonl is not what"):
        rescore()


def test_nothing_is_done_where_the_challenger_is_champion_already(rescore, tmp_path):
    (tmp_path / "contest").mkdir()
    result, folder = rescore(already=True)
    assert (result, list(folder.iterdir())) == ({}, [])
