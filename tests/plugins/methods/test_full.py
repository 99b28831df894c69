"""Full fine-tuning: a step against transformers and PyTorch, what is trained when, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stepladder.core.model.base import Base
from stepladder.core.model.headed import Headed, labelled_rows, pooled
from stepladder.core.model.merged_export import write_merged
from stepladder.core.model.probe import best_head
from stepladder.core.training.context import FitContext
from stepladder.core.training.course import Observer
from stepladder.core.training.loop import train
from stepladder.core.training.state import Best
from stepladder.plugins.methods.full import Full
from transformers import AutoModelForCausalLM

FEW = {"epochs": 1, "batch_size": 16, "micro_batch_size": 4}


def full(**settings: Any) -> Full:
    return Full(Full.Settings(**settings))


def test_a_step_by_words_is_the_step_of_plain_transformers(load, toy, base_folder):
    base = load()
    base.model.double()
    rows = [toy.train.encoded(index) for index in range(4)]
    trainable = full().attach(base.model)
    settings = Full.Settings(
        epochs=1, batch_size=4, micro_batch_size=2, learning_rate=1e-2, weight_decay=0.1, warmup_share=0
    )
    train(base, trainable, rows, [], settings, Observer(lambda **_: None))

    plain = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float64)
    longest = max(len(row.tokens) for row in rows)
    ids = torch.tensor([row.tokens + [0] * (longest - len(row.tokens)) for row in rows])
    trained = torch.tensor([row.trained + [False] * (longest - len(row.tokens)) for row in rows])
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    plain(input_ids=ids, labels=ids.masked_fill(~trained, -100)).loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
    optimizer.step()

    untouched = dict(load().model.named_parameters())
    expected = dict(plain.named_parameters())
    assert trainable.parameters.keys() == expected.keys()
    for name, weight in trainable.parameters.items():
        assert torch.allclose(weight, expected[name], atol=1e-5, rtol=0), name
        assert (weight - untouched[name]).abs().max() > 5e-3, "a step of that size was made"


class Watching(FitContext):
    """Remembers what each training is given, and to which of the base's weights its loss sends gradients."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.trained: list[set[str]] = []
        self.reached: list[set[str]] = []

    def train(self, base: Base, trainable: Any, rows: Sequence[Any], validation: Any, settings: Any) -> Any:
        for loss, _ in trainable.loss(base, rows[:4]):
            loss.backward()
        weights = dict(base.model.named_parameters())
        self.reached.append({name for name, weight in weights.items() if weight.grad is not None})
        self.trained.append(set(trainable.parameters))
        assert all(
            each.grad is not None for name, each in trainable.parameters.items() if name.startswith("head.")
        )
        for each in (*weights.values(), *trainable.parameters.values()):
            each.grad = None
        return super().train(base, trainable, rows, validation, settings)


def test_a_new_head_is_warmed_up_alone_and_then_everything_is_trained(base, toy, tmp_path):
    context = Watching(tmp_path)
    adapted = full(**FEW, head="linear", warmup_head_epochs=2).fit(base, toy, context)
    weights = set(dict(base.model.named_parameters())) - {"lm_head.weight"}
    assert context.trained[0] == {"head.weight", "head.bias"}
    assert context.reached[0] == set(), "no gradient reaches the trunk while the head warms up"
    assert context.trained[1] >= {f"trunk.{name}" for name in weights} | {"head.weight", "head.bias"}
    assert context.reached[1] == weights
    assert isinstance(adapted, Headed) and adapted.report is not None
    assert adapted.report.steps == 2 * 3 + 3
    assert adapted.report.trained_tokens == 3 * 48, "one label a row, in each of three passes"


def test_a_head_starts_at_even_odds(base, toy, tmp_path):
    settings = {**FEW, "learning_rate": 1e-12, "head_learning_rate": 1e-12}
    adapted = full(**settings, head="linear", warmup_head_epochs=0).fit(base, toy, FitContext(tmp_path))
    (said,) = adapted.predict([toy.validation.example(0)])
    assert list((said.scores or {}).values()) == pytest.approx([-0.693147, -0.693147], abs=1e-5)


def test_probe_first_starts_at_the_probe_of_the_same_features(base, toy, tmp_path):
    rows = labelled_rows(base, toy, toy.train)
    features = torch.empty(len(rows), 32)
    with torch.no_grad():
        for indices, group in pooled(base, [row.tokens for row in rows]):
            features[indices] = group
    probe = best_head(features.numpy(), np.array([row.label for row in rows]), 2, seed=0)
    settings = {**FEW, "learning_rate": 1e-12, "head_learning_rate": 1e-12}
    adapted = full(**settings, head="linear", probe_first=True).fit(base, toy, FitContext(tmp_path))
    said = [list((each.scores or {}).values()) for each in adapted.predict(toy.train.examples())]
    assert np.array(said) == pytest.approx(probe.log_probabilities(features.numpy()), abs=1e-3)
    assert adapted.report is not None and adapted.report.steps == 3, "a solved head is not warmed up"
    assert adapted.report.first_loss < 0.3


def test_it_is_exported_as_a_plain_model(load, base_folder, tmp_path):
    base, method = load(), full()
    trainable = method.attach(base.model)
    with torch.no_grad():
        for number, weight in enumerate(trainable.parameters.values()):
            weight.add_(0.01 * (number % 3))
    folds = method.folds({name: each.detach() for name, each in trainable.parameters.items()}, {})
    target = tmp_path / "export"
    target.mkdir()
    assert write_merged(target, base_folder, folds).changed == len(trainable.parameters)
    exported = AutoModelForCausalLM.from_pretrained(target)
    probe = torch.tensor([[5, 9, 60, 31]])
    assert torch.equal(exported(probe).logits, base.model(probe).logits)
    assert (
        load_file(target / "model.safetensors").keys() == load_file(base_folder / "model.safetensors").keys()
    )


def test_tied_weights_stay_one(load):
    model = load().model
    model.lm_head.weight = model.model.embed_tokens.weight
    trainable = full().attach(model)
    assert "lm_head.weight" not in trainable.parameters
    assert model.lm_head.weight is trainable.parameters["model.embed_tokens.weight"]


def test_weights_of_few_bits_are_trained_in_many_and_served_as_they_were(load):
    model = load().model.bfloat16()
    trainable = full().attach(model)
    assert {each.dtype for each in trainable.parameters.values()} == {torch.float32}
    assert trainable.merge is not None
    trainable.merge()
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    assert not any(each.requires_grad for each in model.parameters())


def test_better_weights_are_kept_in_the_memory_of_those_before(load):
    trainable, best = full().attach(load().model), Best()
    best.offer(0, 2.0, trainable)
    places = {name: kept.data_ptr() for name, kept in best.weights.items()}
    with torch.no_grad():
        trainable.parameters["lm_head.weight"].fill_(3.0)
    best.offer(1, 1.0, trainable)
    assert {name: kept.data_ptr() for name, kept in best.weights.items()} == places
    assert (best.weights["lm_head.weight"] == 3).all()
