"""`tune` in a config: where settings are looked for, and what is wrong with what the user wrote."""

from __future__ import annotations

import json

import pytest
from stepladder.core.config import load_config
from stepladder.core.config.tuning import read_tune, space_as_json, space_from_json
from stepladder.core.discovery import discover
from stepladder.core.errors import ConfigError
from stepladder.core.method import Between, OneOf

METHODS = discover().methods


def read(value, method="lora", **given):
    kind = METHODS[method]
    return read_tune(value, kind, kind.Settings(**given), f"methods.{method}.tune")


def test_a_gradient_method_looks_around_the_settings_that_it_is_given():
    tune, faults = read({"trials": 6}, learning_rate=0.01, epochs=2)
    assert not faults
    assert tune == {
        "trials": 6,
        "space": {
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
            "epochs": [1.0, 2.0, 4.0],
            "weight_decay": [0.0, 0.01, 0.1],
        },
    }


def test_named_settings_alone_are_searched_two_fractions_as_a_range():
    tune, faults = read(
        {
            "trials": 8,
            "learning_rate": [1e-4, 1e-2],
            "warmup_share": [0, 0.5],
            "rank": [4, 16],
            "rslora": [True, False],
            "weight_decay": [0.0, 0.1, 0.2],
        }
    )
    assert not faults
    assert tune["space"] == {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "warmup_share": {"low": 0.0, "high": 0.5, "log": False},
        "rank": [4, 16],
        "rslora": [True, False],
        "weight_decay": [0.0, 0.1, 0.2],
    }


def test_a_space_survives_json():
    space = {"a": Between(0.1, 2.0, log=True), "b": OneOf((1, None, "x"))}
    assert space_from_json(json.loads(json.dumps(space_as_json(space)))) == space


@pytest.mark.parametrize(
    "value, place, told",
    [
        (6, "", "expected {trials: a number}, found 6"),
        ({"learning_rate": [1e-4, 1e-2]}, "", "expected {trials: a number}"),
        ({"trials": 0}, ".trials", "expected a whole number from 1 to 256, found 0"),
        ({"trials": True}, ".trials", "expected a whole number from 1 to 256, found true"),
        ({"trials": 3, "learning_rat": [1, 2]}, ".learning_rat", "did you mean 'learning_rate'?"),
        ({"trials": 3, "trails": 4}, ".trails", "did you mean 'trials'?"),
        ({"trials": 3, "seed": [1, 2]}, ".seed", "is never tuned"),
        ({"trials": 3, "rank": 4}, ".rank", "at least two values to choose from, found 4"),
        ({"trials": 3, "rank": [4]}, ".rank", "at least two values to choose from, found [4]"),
        ({"trials": 3, "rank": [0, 4]}, ".rank", "expected a number of at least 1"),
        ({"trials": 3, "rank": ["four", 4]}, ".rank", "expected a whole number, found 'four'"),
        ({"trials": 3, "learning_rate": [0.1, 0.01]}, ".learning_rate", "the lower end first"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(value, place, told):
    tune, faults = read(value)
    assert tune is None
    assert [fault.place for fault in faults] == [f"methods.lora.tune{place}"]
    assert told in faults[0].text


def test_a_method_without_a_space_of_its_own_asks_for_names():
    tune, (fault,) = read({"trials": 3}, "linear_probe")
    assert tune is None
    assert "name those to be tried, such as {trials: 8, layers: [...]}; it has layers, folds, c" in fault.text
    assert read({"trials": 3, "layers": [2, 8]}, "linear_probe")[0]["space"] == {"layers": [2, 8]}


# --- in a config ---


def config(tmp_path, methods):
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"input": "a", "label": "b"}\n')
    path = tmp_path / "run.yaml"
    about = {
        "name": "tuned",
        "task": "classify",
        "data": {"train": "train.jsonl", "test": "test.jsonl"},
        "methods": methods,
    }
    path.write_text(json.dumps(about))
    return path


def test_tuned_candidates_have_names_of_their_own_and_say_that_they_search(tmp_path):
    tune = {"trials": 4, "learning_rate": [0.001, 0.01]}
    methods = ["lora", {"lora": {"tune": tune}}, {"lora": {"tune": {**tune, "trials": 9}}}, "zero_shot"]
    resolved = load_config(config(tmp_path, methods))
    plain, four, _, other = resolved.candidates
    assert [each.id for each in resolved.candidates] == ["lora", "lora-tune4", "lora-tune9", "zero_shot"]
    assert (plain.searches, four.searches, other.searches) == (False, True, False)
    assert plain.tune is None
    assert four.tune == {
        "trials": 4,
        "space": {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}},
    }
    assert plain.settings == four.settings
    assert resolved.origins["methods.lora-tune4.tune"] == "file"
    assert [each.id for each in load_config(config(tmp_path, [{"lora": {"tune": tune}}])).candidates] == [
        "lora"
    ]


def test_each_of_a_sweep_is_tuned_and_a_flag_sets_the_trials(tmp_path):
    path = config(tmp_path, [{"lora": {"rank": [2, 4], "tune": {"trials": 4}}}])
    resolved = load_config(path, ["methods.lora.tune.trials=2"])
    assert [each.id for each in resolved.candidates] == ["lora-rank2", "lora-rank4"]
    assert {each.tune["trials"] for each in resolved.candidates} == {2}
    assert resolved.origins["methods.lora-rank2.tune"] == "flag"


def test_faults_of_settings_and_of_tune_are_told_at_once(tmp_path):
    path = config(tmp_path, [{"lora": {"rank": "many", "tune": {"trials": 3, "alhpa": [1, 2]}}}])
    with pytest.raises(ConfigError) as error:
        load_config(path)
    told = str(error.value)
    assert "methods.lora.rank: expected a whole number, found 'many'" in told
    assert "methods.lora.tune.alhpa: unknown setting (did you mean 'alpha'?)" in told


def test_a_misspelt_tune_is_told_as_the_settings_are(tmp_path):
    path = config(tmp_path, [{"lora": {"tun": {"trials": 4}}}])
    with pytest.raises(ConfigError, match=r"methods\.lora\.tun: unknown key \(did you mean 'tune'\?\)"):
        load_config(path)


def test_the_same_method_tuned_twice_alike_is_a_fault(tmp_path):
    entry = {"lora": {"tune": {"trials": 4}}}
    with pytest.raises(ConfigError, match="listed twice with the same settings"):
        load_config(config(tmp_path, [entry, entry]))
