"""The linear probe: its head against closed forms, its features, and a fit from end to end."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from stepladder.core.errors import StepError
from stepladder.core.training.context import FitContext
from stepladder.plugins.methods.linear_probe import (
    LinearProbe,
    Probe,
    cross_validate,
    cross_validate_numbers,
    fit_head,
    fit_number_head,
    read_features,
    spread_layers,
)
from stepladder.plugins.tasks.regress import Regress


def clusters(labels: int, rows: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """features [rows, 5] around one centre for each label; labels [rows]."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(labels, 5)) * 4
    said = np.arange(rows) % labels
    noise = generator.normal(size=(rows, 5)) * spread
    return (centres[said] + noise).astype(np.float32), said


# --- the head ---


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_separable_features_are_told_apart(labels: int):
    features, said = clusters(labels, rows=70, spread=0.1)
    head = fit_head(features, said, labels, c=1.0)
    scores = head.log_probabilities(features)
    assert (scores.argmax(1) == said).all()
    assert np.exp(scores).sum(1) == pytest.approx(np.ones(70), abs=1e-5)


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_is_logistic_regression_on_standardised_features(labels: int):
    features, said = clusters(labels, rows=60, spread=4.0)
    head = fit_head(features, said, labels, c=0.5)
    standard = (features - features.mean(0)) / features.std(0)
    reference = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(standard, said)
    probabilities = np.exp(head.log_probabilities(features))
    assert probabilities == pytest.approx(reference.predict_proba(standard), abs=0.01)


def test_without_freedom_the_head_says_how_frequent_each_label_is():
    features, _ = clusters(2, rows=40, spread=1.0)
    said = np.array([0] * 30 + [1] * 10)
    scores = fit_head(features, said, 2, c=1e-5).log_probabilities(features)
    assert scores == pytest.approx(np.tile([math.log(0.75), math.log(0.25)], (40, 1)), abs=1e-2)


@pytest.mark.parametrize("present", [[0, 2], [1, 2, 3]])
def test_a_label_without_rows_is_never_said_and_has_a_score_that_json_holds(present: list[int]):
    features, said = clusters(len(present), rows=30, spread=0.5)
    labels = np.array(present)[said]
    head = fit_head(features, labels, 5, c=1.0)
    far = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32) * 50
    scores = head.log_probabilities(np.vstack([features, far]))
    assert (scores.argmax(1)[:30] == labels).all()
    assert set(scores.argmax(1)) <= set(present)
    absent = scores[:, sorted(set(range(5)) - set(present))]
    assert (absent < -1000).all() and np.isfinite(absent).all()


def test_rows_of_one_label_alone_make_a_head_that_says_it():
    features, _ = clusters(2, rows=4, spread=1.0)
    scores = fit_head(features, np.array([1, 1, 1, 1]), 3, c=1.0).log_probabilities(features)
    assert (scores.argmax(1) == 1).all()
    assert scores[:, 1] == pytest.approx(np.zeros(4), abs=1e-6)


def test_a_feature_that_never_changes_is_no_trouble():
    features, said = clusters(2, rows=20, spread=0.1)
    features[:, 2] = 3.0
    assert np.isfinite(fit_head(features, said, 2, c=1.0).log_probabilities(features)).all()


# --- cross-validation ---


def test_informative_features_score_better_than_noise():
    features, said = clusters(3, rows=60, spread=0.5)
    noise = np.random.default_rng(2).normal(size=features.shape).astype(np.float32)
    good, bad = (cross_validate(kind, said, c=0.1, folds=4, seed=0) for kind in (features, noise))
    assert good > -0.2
    assert bad == pytest.approx(-math.log(3), abs=0.5)


def test_the_seed_fixes_the_folds():
    features, said = clusters(3, rows=60, spread=6.0)
    scores = [cross_validate(features, said, c=0.1, folds=4, seed=seed) for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]


def test_a_fold_may_be_left_with_one_label():
    features, _ = clusters(2, rows=3, spread=1.0)
    score = cross_validate(features, np.array([0, 0, 1]), c=0.1, folds=2, seed=0)
    assert math.isfinite(score)


# --- features ---


@pytest.mark.parametrize(
    "layers, count, expected",
    [(3, 8, [1, 2, 3]), (30, 4, [1, 11, 20, 30]), (30, 2, [1, 30]), (30, 1, [30]), (1, 1, [1])],
)
def test_layers_are_spread_from_the_last_one_down(layers: int, count: int, expected: list[int]):
    assert spread_layers(layers, count) == expected


def test_features_are_those_of_each_text_alone(base):
    texts = ["the car is red", "the car is very blue today", "my house"]
    features = read_features(base, base.renderer.sequences(texts), [1, 3])
    assert features.shape == (3, 2, 2, 32)
    for text, found in zip(texts, features, strict=True):
        ids = base.renderer.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = base.model(ids, output_hidden_states=True).hidden_states
        for place, layer in enumerate((1, 3)):
            expected = states[layer][0]
            assert found[place, 0] == pytest.approx(expected.mean(0).numpy(), abs=1e-4)
            assert found[place, 1] == pytest.approx(expected[-1].numpy(), abs=1e-4)


# --- from end to end ---


@pytest.fixture
def fitted(base, toy, tmp_path) -> Probe:
    found = LinearProbe(LinearProbe.Settings(folds=3)).fit(base, toy, FitContext(tmp_path))
    assert isinstance(found, Probe)
    return found


def test_a_fit_learns_the_word_that_decides(fitted, toy, capsys):
    rows = toy.validation.examples()
    predictions = fitted.predict(rows)
    assert [prediction.id for prediction in predictions] == [row.id for row in rows]
    assert [prediction.predicted for prediction in predictions] == [row.expected for row in rows]
    for prediction in predictions:
        assert list(prediction.scores) == list(toy.labels)
        assert max(prediction.scores, key=prediction.scores.get) == prediction.predicted
    assert fitted.trainable_parameters == 2 * 32 + 2
    assert not fitted.alters_base and fitted.merge() is None


def test_a_fit_tells_what_it_chose(base, toy, tmp_path, capsys):
    LinearProbe(LinearProbe.Settings(folds=3, c=[0.5])).fit(base, toy, FitContext(tmp_path))
    assert "linear_probe: layer" in (said := capsys.readouterr().out)
    assert "pooling, C=0.5" in said


def test_the_instruction_is_read_after_the_row(base, toy, tmp_path):
    bare = LinearProbe(LinearProbe.Settings(folds=3)).fit(
        base, replace(toy, instruction=""), FitContext(tmp_path)
    )
    asked = replace(bare.schema, instruction="which colour is the car ?")
    rows = toy.validation.examples()[:2]
    before = bare.predict(rows)
    bare.schema = asked
    assert bare.predict(rows) != before


def test_saved_and_loaded_it_says_the_same(fitted, load, toy, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    fitted.save(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["probe.json", "weights.safetensors"]
    json.loads((folder / "probe.json").read_text())
    loaded = Probe.load(folder, load(), fitted.schema, LinearProbe(LinearProbe.Settings()))
    assert loaded.predict(toy.validation.examples()) == fitted.predict(toy.validation.examples())


def test_one_row_for_each_label_is_fitted_to_the_last_layer(base, toy, tmp_path, capsys):
    rows = {row.expected: row for row in toy.train.rows}
    single = replace(toy, train=replace(toy.train, rows=list(rows.values()), tokens=toy.train.tokens[:2]))
    probe = LinearProbe(LinearProbe.Settings()).fit(base, single, FitContext(tmp_path))
    assert (probe.layer, probe.pooling) == (base.model.config.num_hidden_layers, "mean")
    assert "not cross-validated" in capsys.readouterr().out
    said = probe.predict(single.train.examples())
    assert [answer.predicted for answer in said] == list(rows)


# --- numbers ---


def line(rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """features [rows, 5] of unlike scales; targets [rows] far from zero."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(rows, 5)) * (1, 10, 0.1, 1, 1) + 3
    targets = 2 * features[:, 0] - 0.3 * features[:, 1] + 500 + noise * generator.normal(size=rows)
    return features.astype(np.float32), targets


def test_the_head_is_ridge_regression_on_standardised_features():
    features, targets = line(60, noise=1.0)
    standard = ((features - features.mean(0)) / features.std(0)).astype(np.float64)
    reference = Ridge(alpha=5 * 0.1 / 0.5).fit(standard, targets).predict(standard)
    assert fit_number_head(features, targets, c=0.5).numbers(features) == pytest.approx(reference, abs=1e-3)


def test_a_line_is_found_and_noise_is_not():
    features, targets = line(200, noise=0.0)
    held_out = cross_validate_numbers(features, targets, c=1000, folds=4, seed=0)
    assert -held_out < 1e-3 * targets.var()
    unrelated = np.random.default_rng(2).normal(size=200)
    assert cross_validate_numbers(features, unrelated, 0.01, 4, 0) == pytest.approx(-unrelated.var(), rel=0.2)


def test_targets_that_never_change_are_said():
    features, _ = line(8, noise=0.0)
    assert fit_number_head(features, np.full(8, 7.25), c=1.0).numbers(features) == pytest.approx(
        np.full(8, 7.25)
    )


@pytest.fixture
def rated(toy):
    """The toy rows with a number in place of each label."""
    numbers = {"red": "-1.5", "blue sky sea": "20"}

    def split(rows):
        examples = [replace(row, expected=numbers[row.expected]) for row in rows.rows]
        return replace(rows, rows=examples)

    return replace(toy, task=Regress(), labels=(), train=split(toy.train), validation=split(toy.validation))


def test_a_fit_learns_numbers_and_saved_and_loaded_says_the_same(base, load, rated, tmp_path):
    fitted = LinearProbe(LinearProbe.Settings(folds=3, c=[1.0, 100.0])).fit(base, rated, FitContext(tmp_path))
    rows = rated.validation.examples()
    said = fitted.predict(rows)
    numbers = [float(prediction.predicted) for prediction in said]
    assert r2_score([float(row.expected) for row in rows], numbers) > 0.8
    assert fitted.trainable_parameters == 32 + 1
    folder = tmp_path / "saved"
    folder.mkdir()
    fitted.save(folder)
    loaded = Probe.load(folder, load(), fitted.schema, LinearProbe(LinearProbe.Settings()))
    assert loaded.predict(rows) == said


def test_one_row_with_a_number_cannot_be_cross_validated(base, rated, tmp_path):
    single = replace(
        rated, train=replace(rated.train, rows=rated.train.rows[:1], tokens=rated.train.tokens[:1])
    )
    with pytest.raises(StepError, match="one training row"):
        LinearProbe(LinearProbe.Settings()).fit(base, single, FitContext(tmp_path))


@pytest.mark.parametrize("wrong", [{"c": []}, {"c": [0.0]}, {"c": [1, -1]}, {"folds": 1}, {"layers": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LinearProbe.Settings(**wrong)
