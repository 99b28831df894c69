"""Decoders and their scorers in a config: faults with the nearest names, ids, files put in, shared fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from stepladder.core.config import load_config
from stepladder.core.errors import ConfigError

SCHEMA = {"type": "object"}


@pytest.fixture
def load(tmp_path: Path, registry):
    """Load a config of these methods."""
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"input": "a", "response": "b"}\n' * 9)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))

    def from_methods(*methods, **more):
        path = tmp_path / "run.yaml"
        data = {"train": "train.jsonl", "test": "test.jsonl"}
        config = {"name": "run", "task": "generate", "data": data, "methods": list(methods), **more}
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return load_config(path, registry=registry)

    return from_methods


def fault_of(load, decoder, **more) -> str:
    with pytest.raises(ConfigError) as caught:
        load({"zero_shot": {"decoder": decoder}}, **more)
    return "\n".join(caught.value.faults)


@pytest.mark.parametrize(
    "decoder, fault",
    [
        ({"best_of_m": {}}, "zero_shot.decoder: no decoder 'best_of_m' (did you mean 'best_of_n'?)"),
        ({"best_of_n": {"m": 4}}, "decoder.best_of_n.m: unknown key"),
        (
            {"best_of_n": {"by": "likelyhood"}},
            "best_of_n.by: no scorer 'likelyhood' (did you mean 'likelihood'?)",
        ),
        ({"best_of_n": {"by": {"json_shema": {}}}}, "no scorer 'json_shema' (did you mean 'json_schema'?)"),
        (
            {"best_of_n": {"by": {"regex": {"patern": "a"}}}},
            "by.regex.patern: unknown key (did you mean 'pattern'?)",
        ),
        ({"best_of_n": {"by": {"regex": {}}}}, "best_of_n.by.regex.pattern: missing"),
        (
            {"best_of_n": {"by": {"regex": {"pattern": "("}}}},
            "by.regex.pattern: expected a regular expression",
        ),
        ({"best_of_n": {"by": {"regex": {"pattern": "a"}, "callable": {}}}}, "expected one scorer, found"),
        ({"best_of_n": {"by": {"json_schema": {"file": "none.json"}}}}, "by.json_schema: file: "),
        ({"best_of_n": {"by": {"json_schema": {"schema": {"type": 3}}}}}, "is no JSON schema: at type"),
        ({"best_of_n": {"by": {"callable": {"function": "nowhere:f"}}}}, "no module 'nowhere'"),
        ("beam", "decoder.beam.by: missing"),
        ({"beam": {"by": {"regex": {"pattern": "a"}}}}, "scorers that do: json_schema, python_syntax"),
        ({"majority_vote": {"answer": {"regex": "a"}}}, "expected a pattern with one group"),
    ],
)
def test_a_fault_says_where_and_what_is_meant(load, decoder, fault: str):
    assert fault in fault_of(load, decoder)


def test_several_decoders_make_a_candidate_each_with_names_that_tell_them_apart(load):
    by = {"json_schema": {"file": "schema.json"}}
    decoders = ["greedy", *({"best_of_n": {"n": n, "by": by}} for n in (2, 8)), {"beam": {"by": by}}]
    resolved = load({"few_shot": {"decoder": decoders}})
    assert [each.id for each in resolved.candidates] == [
        "few_shot-decodergreedy",
        "few_shot-decoderbest_of_n.n2",
        "few_shot-decoderbest_of_n.n8",
        "few_shot-decoderbeam",
    ]
    kept = resolved.candidates[1].settings["decoder"]["best_of_n"]
    assert kept["by"] == {"json_schema": {"seconds": 2.0, "schema": SCHEMA, "file": None}}
    assert (kept["n"], kept["temperature"]) == (2, 0.7)
    assert [each.fitted_as for each in resolved.candidates] == ["", *["few_shot-decodergreedy"] * 3]


def test_only_what_a_fit_does_not_see_is_fitted_once(load):
    resolved = load({"lora": {"rank": [4, 8], "max_new_tokens": [8, 16]}}, "zero_shot")
    assert {each.id: each.fitted_as for each in resolved.candidates} == {
        "lora-rank4-max_new_tokens8": "",
        "lora-rank4-max_new_tokens16": "lora-rank4-max_new_tokens8",
        "lora-rank8-max_new_tokens8": "",
        "lora-rank8-max_new_tokens16": "lora-rank8-max_new_tokens8",
        "zero_shot": "",
    }


def test_a_scorer_that_runs_code_is_not_registered(load):
    decoder = {"best_of_n": {"by": {"callable": {"function": "operator:contains"}}}}
    assert load({"zero_shot": {"decoder": decoder}}).candidates
    assert "which a registered model never brings along" in fault_of(load, decoder, register="orders")
