"""Tuning: trials from the same base, the best one kept, losing ones given up, and all of them paid for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from stepladder.core.config.tuning import space_as_json
from stepladder.core.errors import StepError
from stepladder.core.evaluation.score import records
from stepladder.core.method import Between, OneOf
from stepladder.core.model.adapter import Description, read_adapter
from stepladder.core.steps.fitting import Fitting
from stepladder.core.steps.tuning import judged, tune
from stepladder.core.training.batch import train_step
from stepladder.core.training.checkpoint import Keeping
from stepladder.core.training.context import FitContext
from stepladder.core.training.lent import Lent
from stepladder.plugins.metrics.accuracy import Accuracy

QUICK = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "seed": 0}


@pytest.fixture
def fitting(load, toy, registry):
    def make(method="lora", **settings):
        data = replace(toy, metric=Accuracy())
        schema = {"task": "classify", "instruction": data.instruction, "labels": list(data.labels)}
        kind = registry.method(method)
        given = kind.Settings(**{**(QUICK if method in ("lora", "full") else {}), **settings})
        description = Description(
            method, given.model_dump(mode="json"), "stepladder", "0", "tiny-llama", "0" * 64, schema
        )
        candidate = {"id": method, "method": method, "settings": description.settings, "needs": []}
        return Fitting(candidate, description, data, load, Lent(registry, Path(), {}, {}))

    return make


def tuned(fitting, folder, trials=4, **space):
    folder.mkdir(exist_ok=True)
    plan = {"trials": trials, "space": space_as_json(space)}
    return tune(replace(fitting, candidate={**fitting.candidate, "tune": plan}), folder)[1]


RATES = {"learning_rate": Between(1e-6, 0.1, log=True)}


def test_the_best_trial_is_the_candidate_and_reloads_with_its_settings(fitting, load, registry, tmp_path):
    given = fitting()
    result = tuned(given, tmp_path / "fit", **RATES)
    report = result["tuned"]
    assert (report["trials"], report["split"], report["rows"]) == (4, "validation", 16)
    assert report["space"] == {"learning_rate": {"low": 1e-6, "high": 0.1, "log": True}}
    described = json.loads((tmp_path / "fit" / "artifact" / "adapter.json").read_text())
    assert described["settings"] == {**given.description.settings, **report["best"]}
    loaded = read_adapter(tmp_path / "fit" / "artifact", load(), registry)
    assert judged(loaded, given.data, Accuracy()) == report["value"]
    assert sorted(each.name for each in (tmp_path / "fit").iterdir()) == ["artifact", "progress.jsonl"]
    losses = [json.loads(line) for line in (tmp_path / "fit" / "progress.jsonl").read_text().splitlines()]
    assert result["report"]["best_validation_loss"] <= min(
        point["validation_loss"] for point in losses if "validation_loss" in point
    )


def test_the_settings_that_were_given_are_tried_first_and_none_is_better_left_aside(
    fitting, tmp_path, capsys
):
    given = fitting()
    alone = given.fit({}, FitContext(tmp_path))
    value = judged(alone.adapted, given.data, Accuracy())
    result = tuned(given, tmp_path / "fit", **RATES)
    assert "trial 1: learning_rate 0.02\n" in capsys.readouterr().out
    assert result["tuned"]["value"] >= value


@pytest.mark.parametrize("method", ["lora", "full"])
def test_each_trial_starts_from_the_same_base(fitting, load, registry, tmp_path, method):
    """The winner says what it says when it is fitted alone, whatever was trained before it."""
    given = fitting(method, learning_rate=1e-6)
    result = tuned(given, tmp_path / "fit", trials=3, learning_rate=OneOf((1e-6, 1e-5, 0.03)))
    rows = given.data.validation.examples()
    loaded = read_adapter(tmp_path / "fit" / "artifact", load(), registry)
    (tmp_path / "alone").mkdir()
    alone = given.fit(result["tuned"]["best"], FitContext(tmp_path / "alone")).adapted
    assert records(rows, loaded.predict(rows)) == records(rows, alone.predict(rows))


def test_a_seed_decides_the_trials(fitting, tmp_path):
    first, again = (tuned(fitting(), tmp_path / name, trials=3, **RATES)["tuned"] for name in "ab")
    assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_losing_trials_are_given_up_by_their_validation_loss_and_paid_for(fitting, tmp_path):
    space = {"learning_rate": OneOf((0.02, 0.021, 0.022, 1e-9, 1e-8, 1e-7))}
    result = tuned(fitting(epochs=3), tmp_path / "fit", trials=6, **space)
    report = result["tuned"]
    assert report["pruned"] >= 2
    assert report["best"]["learning_rate"] >= 0.02
    whole = result["report"]["trained_tokens"]
    assert whole < result["trained_tokens"] < 6 * whole
    assert result["train_seconds"] > result["report"]["train_seconds"]


def test_a_trial_that_diverges_is_counted(fitting, tmp_path):
    space = {"learning_rate": OneOf((0.02, 1e30))}
    result = tuned(fitting(), tmp_path / "fit", trials=2, **space)
    assert (result["tuned"]["failed"], result["tuned"]["best"]) == (1, {"learning_rate": 0.02})


def test_methods_without_a_training_loop_are_tuned_too(fitting, tmp_path):
    result = tuned(fitting("few_shot"), tmp_path / "fit", trials=3, shots=OneOf((None, 1, 2)))
    assert result["tuned"]["trials"] == 3
    assert result["tuned"]["best"]["shots"] in (None, 1, 2)
    assert result["trained_tokens"] == 0 and result["train_seconds"] > 0


def test_without_validation_rows_nothing_can_be_tuned(fitting, tmp_path):
    given = fitting()
    none = replace(given.data, validation=replace(given.data.validation, rows=[], tokens=[]))
    with pytest.raises(StepError, match="there are none"):
        tuned(replace(given, data=none), tmp_path / "fit", **RATES)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


def test_a_search_that_was_killed_finds_its_trials_again(fitting, tmp_path, monkeypatch):
    """Those that had ended are trained no more: not the beaten ones, not the best, not those given up."""
    space = {"learning_rate": OneOf((0.02, 0.021, 0.022, 1e-9, 1e-8, 1e-7))}
    expected = tuned(fitting(epochs=3), tmp_path / "whole", trials=6, **space)
    keeping = Keeping(tmp_path / "scratch", "f" * 64, every=2)
    calls = []

    def count(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 26:  # of 9 steps a trial that is not given up
            raise Killed
        return train_step(*arguments, **named)

    monkeypatch.setattr("stepladder.core.training.loop.train_step", count)
    with pytest.raises(Killed):
        tuned(replace(fitting(epochs=3), keeping=keeping), tmp_path / "killed", trials=6, **space)
    killed_after = len(calls) - 1
    result = tuned(replace(fitting(epochs=3), keeping=keeping), tmp_path / "again", trials=6, **space)
    for figure in ("trained_tokens", "artifact_bytes"):
        assert result[figure] == expected[figure]
    assert {**result["tuned"], "seconds": 0} == {**expected["tuned"], "seconds": 0}
    names = ("whole", "again")
    weights = [(tmp_path / name / "artifact" / "weights.safetensors").read_bytes() for name in names]
    assert weights[0] == weights[1]
    curves = [(tmp_path / name / "progress.jsonl").read_text().splitlines() for name in names]
    assert len(curves[0]) == len(curves[1])
    monkeypatch.setattr("stepladder.core.training.loop.train_step", train_step)
    again = len(calls) - 1 - killed_after
    assert killed_after + again <= steps_of(expected) + 2, "at most one interval is repeated"


def steps_of(result):
    """Of all trials, each of which trains the same number of tokens in a pass."""
    whole = result["report"]
    return round(result["trained_tokens"] / whole["trained_tokens"] * whole["steps"])
