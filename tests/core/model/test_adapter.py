"""Adapter folders: written once, read only as they were written, and never able to run code."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stepladder.core.discovery import Registry
from stepladder.core.errors import ModelError, PluginError
from stepladder.core.method import DataSchema, Prompt
from stepladder.core.model.adapter import (
    Description,
    build_decoder,
    build_method,
    copy_adapter,
    read_adapter,
    verify_adapter,
    write_adapter,
)
from stepladder.core.model.base import Base
from stepladder.core.model.worded import Worded
from stepladder.core.types import Example
from stepladder.plugins.tasks.classify import Classify

SCHEMA = {"task": "classify", "instruction": "which colour ?", "labels": ["blue", "red"]}
ROWS = [Example("a", "the car is red", "red"), Example("b", "the sea is blue", "blue")]
FILES = ["adapter.json", "manifest.json", "prompt.json", "weights.safetensors"]


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def description(base: Base, **changed: Any) -> Description:
    made = Description(
        method="lora",
        settings={"rank": 4, "decoder": {"sample": {"temperature": 0.3}}},
        plugin="stepladder",
        plugin_version="0",
        base=base.ref.name,
        base_fingerprint=base.ref.fingerprint,
        schema=SCHEMA,
    )
    return replace(made, **changed)


@pytest.fixture
def adapted(base: Base, registry: Registry) -> Worded:
    said = description(base)
    method = build_method(said.method, said.settings, registry)
    trainable = method.attach(base.model)
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    schema = DataSchema(Classify(), SCHEMA["instruction"], tuple(SCHEMA["labels"]))
    return Worded(base, schema, Prompt(), method, trainable)


@pytest.fixture
def folder(adapted: Worded, tmp_path: Path) -> Path:
    write_adapter(tmp_path / "artifact", adapted, description(adapted.base))
    return tmp_path / "artifact"


def sign(folder: Path) -> None:
    """A manifest that fits what lies in the folder now: as whoever wrote the files could make it."""
    files = sorted(set(folder.iterdir()) - {folder / "manifest.json"})
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    (folder / "manifest.json").write_text(json.dumps(hashes))


# --- as it was written ---


def test_what_a_fit_leaves(adapted, tmp_path):
    size = write_adapter(tmp_path / "artifact", adapted, description(adapted.base))
    files = sorted((tmp_path / "artifact").iterdir())
    assert [file.name for file in files] == FILES
    assert size == sum(file.stat().st_size for file in files)
    manifest = json.loads((tmp_path / "artifact" / "manifest.json").read_text())
    assert manifest == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.name in manifest
    }
    assert sorted(manifest) == sorted(set(FILES) - {"manifest.json"})


def test_a_candidate_is_read_back_with_its_method_and_decoder(adapted, folder, load, registry):
    loaded = read_adapter(folder, load(), registry)
    assert loaded.predict(ROWS) == adapted.predict(ROWS)
    assert isinstance(loaded, Worded)
    assert loaded.method.settings.rank == 4
    assert loaded.method.decoder.name == "sample"
    assert loaded.method.decoder.settings.temperature == 0.3


def test_a_file_that_may_run_code_is_never_written(base, tmp_path):
    class Careless(Worded):
        def save(self, folder: Path) -> None:
            (folder / "weights.bin").write_bytes(b"")

    careless = Careless(base, DataSchema(Classify(), "", ("a", "b")), Prompt(), method=None)
    with pytest.raises(AssertionError, match=r"weights\.bin"):
        write_adapter(tmp_path / "artifact", careless, description(base))


# --- as it was not written ---


def flip_a_byte(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["adapter.json", "prompt.json", "weights.safetensors"])
@pytest.mark.parametrize("change", [flip_a_byte, lambda folder, name: (folder / name).unlink()])
def test_a_changed_or_lost_file_is_refused(folder, load, registry, name: str, change: Callable[..., None]):
    change(folder, name)
    with pytest.raises(ModelError, match=rf"{name} is missing or not what the fit wrote .*run the fit again"):
        read_adapter(folder, load(), registry)


def test_an_added_pickle_is_refused_unread(folder, load, registry, tmp_path):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    for prepare in (lambda _: None, sign):
        prepare(folder)
        with pytest.raises(ModelError, match=r"pytorch_model\.bin was not written by the fit"):
            read_adapter(folder, load(), registry)
    assert not (tmp_path / "trapped").exists()


def test_a_pickle_by_the_name_of_weights_is_refused_unrun(folder, load, registry, tmp_path):
    trap = Trap(tmp_path / "trapped")
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists(), "the trap works"
    trap.path.unlink()
    (folder / "weights.safetensors").write_bytes(pickle.dumps(trap))
    sign(folder)
    with pytest.raises(ModelError, match=r"artifact: .*no safetensors.*run the fit again"):
        read_adapter(folder, load(), registry)
    assert not trap.path.exists()


def test_torchs_own_pickle_by_the_name_of_weights_is_refused_unrun(folder, load, registry, tmp_path):
    torch.save({"weight": Trap(tmp_path / "trapped")}, folder / "weights.safetensors")
    sign(folder)
    with pytest.raises(ModelError, match="no safetensors"):
        read_adapter(folder, load(), registry)
    assert not (tmp_path / "trapped").exists()


def test_an_added_folder_is_refused(folder, load, registry):
    (folder / "more").mkdir()
    with pytest.raises(ModelError, match="more was not written by the fit"):
        read_adapter(folder, load(), registry)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"adapter.json": 5}'])
def test_a_folder_without_a_manifest_is_no_artifact(folder, content: str | None):
    (folder / "manifest.json").unlink()
    if content is not None:
        (folder / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match=r"manifest\.json: expected the artifact folder of a candidate"):
        verify_adapter(folder)


@pytest.mark.parametrize("content", ["{", "{}", '{"method": "lora", "unheard_of": 1}', "[]", None])
def test_a_description_of_another_make_is_refused(folder, content: str | None):
    (folder / "adapter.json").unlink()
    if content is not None:
        (folder / "adapter.json").write_text(content)
    sign(folder)
    with pytest.raises(ModelError, match=r"adapter\.json does not describe a candidate"):
        verify_adapter(folder)


def test_a_manifest_cannot_point_out_of_the_folder(folder, tmp_path):
    (tmp_path / "outside.json").write_text("{}")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["../outside.json"] = hashlib.sha256(b"{}").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"\.\./outside\.json is missing"):
        verify_adapter(folder)


def test_another_base_is_refused_by_both_names(folder, base, registry):
    other = replace(base, ref=replace(base.ref, name="other-base", fingerprint="f" * 64))
    with pytest.raises(
        ModelError, match=r"fitted on tiny-llama \(0{12}\), but the base given is other-base \(f{12}\)"
    ):
        read_adapter(folder, other, registry)


def test_an_unknown_method_is_named(folder, base, registry):
    said = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps(said | {"method": "lorra"}))
    sign(folder)
    with pytest.raises(PluginError, match=r"no method 'lorra' \(did you mean 'lora'\?\)"):
        read_adapter(folder, base, registry)


# --- decoders ---


def test_a_method_that_names_no_decoder_has_the_one_of_its_settings(registry):
    assert build_method("zero_shot", {}, registry).decoder.name == "greedy"
    assert build_method("linear_probe", {}, registry).decoder is None


def test_decoders_by_name_and_with_settings(registry):
    assert build_decoder(None, registry) is None
    assert build_decoder("greedy", registry).name == "greedy"
    assert build_decoder({"sample": {"top_k": 3}}, registry).settings.top_k == 3
    with pytest.raises(PluginError, match=r"no decoder 'greddy' \(did you mean 'greedy'\?\)"):
        build_decoder("greddy", registry)


# --- scorers, and fits that are taken over ---

SCORED = {"best_of_n": {"n": 2, "by": {"regex": {"pattern": "a"}}}}
CODE = {"best_of_n": {"by": {"callable": {"function": "os:system"}}}}


def test_a_decoder_is_built_with_the_scorer_that_it_names(registry):
    assert build_decoder(SCORED, registry).scorer.settings.pattern == "a"
    assert build_decoder("best_of_n", registry).scorer is None


def test_a_saved_candidate_brings_no_code_to_run(registry):
    with pytest.raises(ModelError, match="'callable', which runs code"):
        build_decoder(CODE, registry)
    assert build_decoder(CODE, registry, trusted=True).scorer.kind.name == "callable"


def test_a_fit_that_is_taken_over_writes_in_its_own_way(adapted, folder, load, registry, tmp_path):
    settings = {**Description.read(folder).settings, "decoder": SCORED}
    other = tmp_path / "other"
    size = copy_adapter(folder, other, replace(Description.read(folder), settings=settings))
    assert size == sum(file.stat().st_size for file in other.iterdir())
    loaded = read_adapter(other, load(), registry)
    assert loaded.method.decoder.name == "best_of_n"
    assert loaded.method.decoder.scorer.kind.name == "regex"
    assert loaded.predict(ROWS) == adapted.predict(ROWS)
    assert read_adapter(folder, load(), registry).method.decoder.name == "sample", "left as it was"
