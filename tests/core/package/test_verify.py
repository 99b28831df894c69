"""A package and an artifact folder prove themselves; each thing that is not as it was is refused by name."""

import json
import shutil

import climbing
import pytest
from climbing import RUNS
from stepladder.core.errors import ModelError
from stepladder.core.package.layout import write_manifest
from stepladder.core.package.pack import pack
from stepladder.core.package.verify import verify_artifact, verify_package


def edit(path, change):
    """Rewrite a JSON file, or each line of a file of JSON lines."""
    text = path.read_text()
    if path.suffix == ".json":
        path.write_text(json.dumps(change(json.loads(text))))
    else:
        path.write_text("".join(json.dumps(change(json.loads(line))) + "\n" for line in text.splitlines()))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()  # it may be linked to what others read
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["classify", "choice", "generate", "drawn", "chat", "number", "text"])
def test_a_package_as_it_was_made(made, name):
    assert verify_package(made(name))["answers"] == "8 recorded rows answered as then"


# --- files ---


def test_a_changed_file_is_named_with_both_hashes(package):
    folder = package("classify")
    flip(folder / "evidence" / "test.jsonl")
    told = r"evidence/test\.jsonl is not what the package was made with: sha256 expected \w{12}, found \w{12}"
    with pytest.raises(ModelError, match=told):
        verify_package(folder)


def test_a_lost_and_an_added_file_are_named(package):
    folder = package("classify")
    (folder / "evidence" / "train.safetensors").unlink()
    with pytest.raises(ModelError, match=r"evidence/train\.safetensors is missing: fetch it again"):
        verify_package(folder)
    folder = package("choice")
    (folder / "trap.py").write_text("")
    with pytest.raises(ModelError, match=r"trap\.py was not there when the package was made"):
        verify_package(folder)


def test_changed_weights_are_found_by_the_manifest_of_the_artifact(package):
    folder = package("classify")
    flip(folder / "artifact" / "weights.safetensors")
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing or not what the fit wrote"):
        verify_package(folder)


def test_a_folder_that_is_no_package(tmp_path):
    with pytest.raises(ModelError, match=r"no manifest\.json that can be read .*: expected a package"):
        verify_package(tmp_path)


# --- base ---


def test_a_base_whose_content_has_changed_is_refused(package, base_folder, tmp_path):
    folder, base = package("classify"), tmp_path / "base"
    shutil.copytree(base_folder, base)
    edit(base / "tokenizer_config.json", lambda config: {**config, "model_max_length": 7})
    place = {"name": str(base), "path": str(base)}
    edit(folder / "served.json", lambda served: {**served, "base": {**served["base"], **place}})
    write_manifest(folder)
    told = (
        rf"the base {base} is needed as it was \(sha256 \w{{12}}\), and is not on this machine: {base} has "
        rf"another content, sha256 \w{{12}}; .*Put the base as it was at {base} or \S+/bases/\w{{16}}"
    )
    with pytest.raises(ModelError, match=told):
        verify_package(folder)


# --- serving and answers ---


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("template", "0" * 64, r'the chat template and the vocabulary: recorded "0{64}", loaded "\w{64}"'),
        ("stop_ids", [3, 9], r"the tokens that end an answer: recorded \[3, 9\], loaded \[3\]"),
        ("labels", ["blue"], r'the labels: recorded \["blue"\], loaded \["blue", "green", "red"\]'),
        ("decoding", {"decoder": "beam"}, r'how open answers are written: recorded \{"decoder": "beam"\}'),
    ],
)
def test_what_serves_otherwise_than_recorded_is_refused(package, key, value, said):
    folder = package("classify")
    edit(folder / "served.json", lambda served: {**served, key: value})
    write_manifest(folder)
    with pytest.raises(ModelError, match=said):
        verify_package(folder)


def test_a_recorded_score_that_is_another_now_is_refused(package):
    folder = package("classify")

    def raised(row):
        return {**row, "scores": {**row["scores"], "red": row["scores"]["red"] + 0.01}}

    edit(folder / "recorded.jsonl", raised)
    write_manifest(folder)
    with pytest.raises(
        ModelError, match=r"at 8 of 8 rows: row \w+: the score of 'red' was -?\d.*, and is -?\d"
    ):
        verify_package(folder)


@pytest.mark.parametrize("name", ["generate", "drawn", "chat"])
def test_one_recorded_text_that_is_another_now_is_refused(package, name):
    folder = package(name)
    first = json.loads((folder / "recorded.jsonl").read_text().splitlines()[0])["id"]

    def reworded(row):
        return {**row, "predicted": "something else"} if row["id"] == first else row

    edit(folder / "recorded.jsonl", reworded)
    write_manifest(folder)
    with pytest.raises(
        ModelError, match=rf"at 1 of 8 rows: row {first}: answered 'something else', and now '.+'\. Something"
    ):
        verify_package(folder)


@pytest.mark.parametrize("name", ["classify", "generate"])
def test_a_package_made_in_bfloat16_serves_in_float32(own_machine, base_folder, tmp_path, monkeypatch, name):
    import torch

    rows, changes = RUNS[name]
    with monkeypatch.context() as patch:
        patch.setattr("stepladder.core.model.base.compute_dtype", lambda device: torch.bfloat16)
        contents = climbing.climb(tmp_path / "run", base_folder, rows(), changes).contents()
        folder = tmp_path / "package"
        folder.mkdir()
        assert pack(contents, folder).serving.dtype == "bfloat16"
        assert verify_package(folder)["answers"] == "8 recorded rows answered as then"
    assert verify_package(folder)["answers"] == "8 recorded rows answered as then"


# --- a candidate's artifact folder ---


@pytest.fixture
def candidate(package):
    """What a run's folder has of a candidate: the artifact, and the predictions beside it."""

    def copy(name):
        folder = package(name)
        shutil.move(folder / "evidence" / "predictions.jsonl", folder / "predictions.jsonl")
        return folder / "artifact"

    return copy


@pytest.mark.parametrize("name", ["classify", "choice", "generate", "chat", "number", "text"])
def test_a_candidate_answers_as_its_predictions_say(candidate, name):
    assert verify_artifact(candidate(name))["answers"] == "8 rows of predictions.jsonl answered as then"


def test_answers_that_are_drawn_are_not_compared_with_those_of_other_company(candidate):
    assert verify_artifact(candidate("drawn"))["answers"] == "not compared: its decoder draws them"


def shift(predictions, nats):
    """Change every score of a predictions file."""

    def shifted(row):
        return {**row, "scores": {option: score - nats for option, score in row["scores"].items()}}

    edit(predictions, shifted)


def test_predictions_that_the_candidate_does_not_make_are_refused(candidate):
    artifact = candidate("choice")
    predictions = artifact.parent / "predictions.jsonl"
    shift(predictions, 5)
    with pytest.raises(ModelError, match=r"at 8 of 8 rows: row \w+: the score of '\w+' was -"):
        verify_artifact(artifact)
    predictions.unlink()
    said = verify_artifact(artifact)["answers"]
    assert said == "not compared: there is no predictions.jsonl beside the folder"


def test_predictions_of_a_machine_that_computes_in_fewer_bits(candidate):
    artifact = candidate("choice")
    shift(artifact.parent / "predictions.jsonl", 0.2)
    said = verify_artifact(artifact)["answers"]
    assert said.endswith("answered as then, as far as a machine shows that computes in fewer bits")


def test_a_changed_artifact_is_refused(candidate):
    artifact = candidate("classify")
    flip(artifact / "weights.safetensors")
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing or not what the fit wrote"):
        verify_artifact(artifact)
