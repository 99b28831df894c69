"""Demonstrations by nearness: embeddings as the models give them, and which rows stand before a question."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stepladder.core.config.kinds import Footing
from stepladder.core.data.wording import content_free
from stepladder.core.errors import ModelError
from stepladder.core.model.adapter import Description, build_method, read_adapter, write_adapter
from stepladder.core.model.base import load_base
from stepladder.core.model.locate import resolve_base
from stepladder.core.model.nearest import Nearest, embed
from stepladder.core.training.context import FitContext
from stepladder.plugins.methods import few_shot

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from stub_endpoint import says, serving

TEXTS = ["the sky", "my car is very red today", "a house"]


@pytest.fixture
def near_pool(monkeypatch):
    """So few rows are sought among that a test can hold them."""
    monkeypatch.setattr(few_shot, "NEAR_POOL", 12)


def fit(base, data, folder, registry, **settings):
    method = build_method("few_shot", {"demonstrations": "nearest", "shots": 3, **settings}, registry)
    return method.fit(base, data, FitContext(folder))


def shown(adapted, example) -> list[str]:
    """Inputs of the demonstrations before an example, in their order."""
    turns = adapted.wording.turns(example)[:-1:2]
    return [turn.content.rpartition("\n\n")[2] for turn in turns]


# --- embeddings ---


def test_an_embedding_is_the_mean_of_the_last_states(base, load_encoder):
    for model in (base, load_encoder()):
        found = embed(model, TEXTS)
        assert found.shape == (3, 32) and found.dtype == torch.float32
        for text, vector in zip(TEXTS, found, strict=True):
            ids = torch.tensor(model.renderer.sequences([text]))
            trunk = model.model.base_model
            mean = trunk(input_ids=ids).last_hidden_state[0].mean(dim=0)
            torch.testing.assert_close(vector, mean / mean.norm(), rtol=1e-5, atol=1e-6)


def test_the_nearest_stands_last_and_of_equals_the_earlier_is_nearer(load_encoder):
    encoder = load_encoder()
    pool = embed(encoder, [*TEXTS, "the sky"])
    nearest = Nearest(encoder, pool)
    assert nearest.places("the sky", 2) == [3, 0]
    likeness = pool @ embed(encoder, ["a car"])[0]
    assert nearest.places("a car", 4)[::-1] == sorted(range(4), key=lambda row: -float(likeness[row]))


# --- few_shot ---


@pytest.mark.parametrize("own", [True, False])
def test_each_question_has_its_own_nearest_rows(
    own, base, toy, encoder_folder, registry, tmp_path, near_pool
):
    embedding = "base" if own else str(encoder_folder)
    adapted = fit(base, toy, tmp_path, registry, embedding=embedding)
    pool = adapted.prompt.demonstrations
    assert len(pool) == 12 and set(pool) <= set(toy.train.examples())
    model = base if own else load_base(resolve_base(str(encoder_folder), tmp_path))
    vectors = embed(model, [row.input for row in pool])
    for question in toy.validation.examples()[:4]:
        likeness = vectors @ embed(model, [question.input])[0]
        expected = [pool[place].input for place in likeness.argsort(descending=True)[:3]]
        assert shown(adapted, question)[::-1] == expected
        assert shown(adapted, replace(question, id="served-0"))[::-1] == expected


def test_a_question_about_nothing_has_the_demonstrations_of_the_question(
    base, toy, registry, tmp_path, near_pool
):

    adapted = fit(base, toy, tmp_path, registry, embedding="base")
    one = toy.validation.example(0)
    assert shown(adapted, content_free(one)) == shown(adapted, one)


def test_saved_and_loaded_it_says_the_same(load, toy, encoder_folder, registry, tmp_path, near_pool):
    base, rows = load(), toy.validation.examples()
    adapted = fit(base, toy, tmp_path, registry, embedding=str(encoder_folder))
    schema = {"task": "classify", "instruction": toy.instruction, "labels": list(toy.labels)}
    settings = adapted.method.settings.model_dump(mode="json")
    about = Description("few_shot", settings, "stepladder", "0", "b", base.ref.fingerprint, schema)
    write_adapter(tmp_path / "artifact", adapted, about)
    files = {path.name for path in (tmp_path / "artifact").iterdir()}
    assert files == {"adapter.json", "manifest.json", "pool.safetensors", "prompt.json"}
    loaded = read_adapter(tmp_path / "artifact", load(), registry)
    assert torch.equal(loaded.nearest.pool, adapted.nearest.pool)
    assert loaded.predict(rows) == adapted.predict(rows)


def test_another_encoder_by_the_same_name_is_refused(
    load, toy, encoder_folder, registry, tmp_path, near_pool
):
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    base = load()
    adapted = fit(base, toy, tmp_path, registry, embedding=str(folder))
    (tmp_path / "saved").mkdir()
    adapted.save(tmp_path / "saved")
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(ModelError, match=r"were embedded by .*, sha256 .*, and here that is .*: install it"):
        type(adapted).load(tmp_path / "saved", base, adapted.wording.schema, adapted.method)


def test_on_an_endpoint_an_encoder_beside_it_tells_what_is_near(
    toy, encoder_folder, registry, tmp_path, near_pool
):
    with serving(lambda body: says("red")) as stub:
        base = load_base(resolve_base(stub.base(), tmp_path))
        adapted = fit(base, toy, tmp_path, registry, embedding=str(encoder_folder))
        adapted.predict([toy.validation.example(0)])
    sent = [turn["content"] for turn in stub.requests[0]["messages"]]
    assert len(sent) == 7
    assert sent[4] == shown(adapted, toy.validation.example(0))[-1]


@pytest.mark.parametrize(
    "model, embedding, fault",
    [
        (
            {"endpoint": "https://host/v1#m"},
            "base",
            "embedding: found 'base', and an endpoint shows no hidden",
        ),
        ({}, "all-minilm-l6-v3", "embedding: no model by the name 'all-minilm-l6-v3' (did you mean"),
        ({}, "https://host/v1#m", "embedding: a URL, which shows no hidden states"),
        ({}, "base", None),
    ],
)
def test_what_cannot_tell_nearness_is_refused_with_the_config(model, embedding, fault, registry):
    method = registry.method("few_shot")
    settings = method.Settings(demonstrations="nearest", embedding=embedding)
    footing = Footing.on("b", model, "classify", registry)
    found = [each.text for each in footing.faults([(method, settings)], sections={})]
    assert [text[: len(fault or "")] for text in found] == ([fault] if fault else [])
    assert not method.base_fault(method.Settings(embedding="nonsense"), {}), (
        "of no account where none is near"
    )
