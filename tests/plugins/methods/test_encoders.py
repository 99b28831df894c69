"""Every method that runs on encoders, on a tiny one, and a probe on real weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from stepladder.core.bases import DEFAULT_ENCODER, packaged_bases
from stepladder.core.discovery import discover
from stepladder.core.method import Data
from stepladder.core.model.adapter import Description, read_adapter, write_adapter
from stepladder.core.model.base import load_base
from stepladder.core.model.headed import Headed, zero_head
from stepladder.core.model.locate import resolve_base
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example
from stepladder.plugins.methods.full import Full
from stepladder.plugins.methods.linear_probe import LinearProbe
from stepladder.plugins.methods.lora import Lora
from stepladder.plugins.tasks.classify import Classify

QUICK = {"epochs": 8, "learning_rate": 0.01}
SETTINGS: dict[str, dict[str, Any]] = {
    "linear_probe": {"folds": 3},
    "lora": QUICK,
    "peft": {"epochs": 8, "learning_rate": 0.05},
    "full": QUICK,
}
METHODS = {name: kind for name, kind in discover().methods.items() if "encoder" in kind.bases}
# These learn from several tasks, which the toy rows are not of: tests/plugins/methods/test_maml.py.
OF_TASKS = {name for name, kind in METHODS.items() if kind.needs_tasks}


def test_these_methods_run_on_encoders():
    assert {"maml"} == OF_TASKS
    assert set(METHODS) >= {*SETTINGS, *OF_TASKS}


@pytest.mark.parametrize("name", SETTINGS)
def test_fitted_saved_and_loaded_it_says_the_same(name, load_encoder, toy, registry, tmp_path):
    kind = METHODS[name]
    method = kind(kind.Settings(**SETTINGS[name]))
    adapted = method.fit(load_encoder(), toy, FitContext(tmp_path))
    rows = toy.validation.examples()
    said = adapted.predict(rows)
    assert [each.predicted for each in said] == [row.expected for row in rows]
    schema = {"task": "classify", "instruction": toy.instruction, "labels": list(toy.labels)}
    settings = method.settings.model_dump(mode="json")
    description = Description(name, settings, name, "", "tiny-bert", "1" * 64, schema)
    write_adapter(tmp_path / "artifact", adapted, description)
    loaded = read_adapter(tmp_path / "artifact", load_encoder(), registry)
    assert loaded.predict(rows) == said
    assert loaded.trainable_parameters == adapted.trainable_parameters
    merged = loaded.merge()
    assert (merged is None) == (name == "linear_probe")
    assert merged is None or merged.largest_logit_difference < 1e-4
    assert [each.predicted for each in loaded.predict(rows)] == [row.expected for row in rows]


def test_scores_are_log_probabilities_of_the_labels(load_encoder, toy, tmp_path):
    adapted = Lora(Lora.Settings(**QUICK)).fit(load_encoder(), toy, FitContext(tmp_path))
    assert isinstance(adapted, Headed)
    for said in adapted.predict(toy.validation.examples()):
        scores = said.scores or {}
        assert list(scores) == list(toy.labels)
        assert torch.tensor(list(scores.values())).exp().sum() == pytest.approx(1.0, abs=1e-5)


def test_lora_on_an_encoder_updates_queries_and_values(load_encoder):
    names = Lora(Lora.Settings()).attach(load_encoder().model).parameters
    layers = {name.rpartition(".")[0].rpartition(".")[2] for name in names}
    assert layers == {"query", "value"}
    assert len(names) == 2 * 2 * 2


def test_a_row_with_a_label_that_train_lacks_is_left_out_of_validation(load_encoder, toy, tmp_path):
    strange = Example("strange", "the car is green", "green")
    validation = type(toy.validation)([*toy.validation.rows, strange], [])
    data = Data(toy.task, toy.instruction, toy.labels, toy.train, validation)
    adapted = Full(Full.Settings(epochs=1)).fit(load_encoder(), data, FitContext(tmp_path))
    assert adapted.predict([strange])[0].predicted in toy.labels


def test_an_untrained_head_has_no_weight(load_encoder):
    head = zero_head(load_encoder(), 3)
    assert head.weight.shape == (3, 32) and not head.weight.any() and not head.bias.any()


@pytest.mark.skipif("STEPLADDER_TEST_DATA" not in os.environ, reason="needs STEPLADDER_TEST_DATA")
@pytest.mark.skipif(not packaged_bases()[DEFAULT_ENCODER].folder(), reason="its package is not installed")
def test_a_probe_on_the_default_encoder_tells_good_films_from_bad(toy, tmp_path):
    base = load_base(resolve_base(DEFAULT_ENCODER, tmp_path))
    assert base.kind == "encoder" and base.hidden_size == 384
    folder = Path(os.environ["STEPLADDER_TEST_DATA"], "movie_sentiment")

    def examples(split: str, count: int) -> list[Example]:
        rows = map(json.loads, (folder / f"{split}.jsonl").read_text().splitlines()[:count])
        return [Example(f"{split}-{n}", row["text"], row["label"]) for n, row in enumerate(rows)]

    train, test = (type(toy.train)(rows, []) for rows in (examples("train", 240), examples("test", 200)))
    data = Data(Classify(), "Is it good?", ("negative", "positive"), train, test)
    settings = LinearProbe.Settings(layers=1)
    said = LinearProbe(settings).fit(base, data, FitContext(tmp_path)).predict(test.examples())
    right = [each.predicted == row.expected for each, row in zip(said, test.examples(), strict=True)]
    assert sum(right) >= 125, "of 200; a coin reaches that in one of a thousand throws"
