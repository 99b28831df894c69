"""Config files with every kind of fault, and what becomes of one without."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from stepladder.core.config import Config, Resolved, load_config
from stepladder.core.errors import ConfigError

Write = Callable[..., Path]
Install = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("own_home")

BUILDERS = """
import pathlib
from typing import Literal
from stepladder.core.hookspecs import hookimpl
from stepladder.core.method import *
from stepladder.core.method import Settings as Base_
STEPLADDER_API = 1

class Nothing(Adapted):
    def predict(self, examples): return []
    def save(self, folder): ...
    @classmethod
    def load(cls, folder, base, data, method): return cls()

class Stack(Method):
    name = "stack"
    rung = 3
    summary = "built on others"
    answers = ("label",)
    adapted = Nothing

    class Settings(Base_):
        on: list[str] = []
        words: pathlib.Path | None = None
        mode: Literal["mean", "vote"] | int = "mean"
        limits: list[list[int]] | None = None

    def fit(self, base, data, context): return Nothing()

    @classmethod
    def needs(cls, settings):
        if settings.on == ["crash"]: raise KeyError("crash")
        return settings.on

@hookimpl
def stepladder_methods(): return [Stack]
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(methods=[...], data={...})` makes a config beside its data files; None takes a key away."""

    def write_config(**changes: Any) -> Path:
        values: dict[str, Any] = {
            "name": "intents",
            "task": "classify",
            "data": {"train": "train.jsonl", "test": "test.jsonl"},
            "methods": ["zero_shot"],
        }
        data = {**values["data"], **changes.pop("data", {})}
        values |= {"data": data, **changes}
        for name in ("train.jsonl", "test.jsonl"):
            (tmp_path / name).write_text('{"input": "a", "label": "b"}\n')
        path = tmp_path / "run.yaml"
        written = {key: value for key, value in values.items() if value is not None}
        path.write_text(yaml.safe_dump(written, sort_keys=False))
        return path

    return write_config


def faults(path: Path, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert caught.value.where == str(path)
    return caught.value.faults


def ids(resolved: Resolved) -> list[str]:
    return [candidate.id for candidate in resolved.candidates]


def test_a_small_file_is_completed_with_every_default(write: Write, tmp_path: Path) -> None:
    resolved = load_config(write())
    assert resolved.folder == tmp_path
    assert resolved.config.model_dump(mode="json") == {
        "name": "intents",
        "base": "smollm2-135m-instruct",
        "task": "classify",
        "data": {
            "train": str(tmp_path / "train.jsonl"),
            "test": str(tmp_path / "test.jsonl"),
            "validation": 0.2,
            "columns": {},
            "prompt": None,
            "response": None,
            "slices": [],
            "instruction": "",
            "limit": {"train": None, "validation": None, "test": None},
            "max_bad": 0.1,
            "near_duplicates": None,
            "max_length": None,
            "too_long": "quarantine",
        },
        "methods": [{"zero_shot": {}}],
        "endpoint": None,
        "replay": None,
        "retain": None,
        "choose": {"metric": "accuracy", "margin": 0.03, "max_forgetting": None, "max_fit_seconds": None},
        "checkpoint": {"every": None, "keep": 2},
        "devices": 1,
        "shard": False,
        "limits": {"minutes": None, "memory_gb": None},
        "register": None,
        "promote": {"gates": [{"better_than_champion": {"margin": 0.0}}]},
        "data_license": None,
    }
    (candidate,) = resolved.candidates
    assert (candidate.id, candidate.method, candidate.rung, candidate.needs) == (
        "zero_shot",
        "zero_shot",
        0,
        (),
    )
    assert candidate.settings["style"] == "instruction"
    assert resolved.origins["base"] == resolved.origins["choose.metric"] == "default"
    assert resolved.origins["data.train"] == "file"
    assert resolved.origins["methods.zero_shot.style"] == "default"


def test_a_resolved_config_survives_json(write: Write) -> None:
    config = load_config(write(register="intents", methods=[{"lora": {"rank": [4, 8]}}])).config
    assert Config.model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config


def test_a_resolved_config_is_a_config_file_again(write: Write, tmp_path: Path) -> None:
    first = load_config(write(methods=[{"lora": {"learning_rate": [1e-5, 3e-4]}}], base="a/b"))
    again = tmp_path / "elsewhere" / "again.yaml"
    again.parent.mkdir()
    again.write_text(json.dumps(first.config.model_dump(mode="json")))
    second = load_config(again)
    assert second.config == first.config
    assert second.candidates == first.candidates


def test_all_faults_are_told_at_once_each_at_its_place(write: Write, tmp_path: Path) -> None:
    path = write(
        name="my run",
        bse="x",
        base="smollm2-135m-instuct",
        task="clasify",
        data={
            "train": "trian.jsonl",
            "test": "missing/test.jsonl",
            "limit": {"trian": 5, "test": "many"},
            "max_bad": 2,
            "too_long": "truncat",
            "prompt": "{{ question",
        },
        methods=["zero_shoot", {"lora": {"rank": 0, "alpa": 3}}, 7, {"few_shot": None, "shots": 3}],
        choose={"margin": -1},
        register="../up",
    )
    assert set(faults(path)) == {
        "name: expected at most 100 letters, digits, '-', '_' and '.', the first a letter or a digit, "
        "found 'my run'",
        "bse: unknown key (did you mean 'base'?)",
        "base: no base 'smollm2-135m-instuct' (did you mean 'smollm2-135m-instruct'?): expected "
        "smollm2-135m-instruct, all-minilm-l6-v2, a folder, a .gguf file, or a hub id such as owner/name",
        "task: no task 'clasify' (did you mean 'classify'?); `stepladder plugins` lists them",
        f"data.train: no such file: {tmp_path}/trian.jsonl (did you mean 'train.jsonl'?)",
        f"data.test: no such folder: {tmp_path}/missing",
        "data.limit.trian: unknown key (did you mean 'train'?)",
        "data.limit.test: expected a whole number, found 'many'",
        "data.max_bad: expected a number of at most 1, found 2",
        "data.too_long: expected 'quarantine' or 'truncate', found 'truncat'",
        "data.prompt: line 1 of the template: unexpected end of template, expected 'end of print statement'.",
        "methods: no method 'zero_shoot' (did you mean 'zero_shot'?); `stepladder methods` lists them",
        "methods.lora.rank: expected a number of at least 1, found 0",
        "methods.lora.alpa: unknown key (did you mean 'alpha'?)",
        "methods, item 3: expected a method's name or {name: settings}, found 7",
        "methods, item 4: expected one method, found few_shot, shots: indent shots below few_shot",
        "choose.margin: expected a number of at least 0, found -1",
        "register: expected at most 100 letters, digits, '-', '_' and '.', the first a letter or a digit, "
        "found '../up'",
    }


def test_the_message_counts_the_faults_and_names_the_file(write: Write) -> None:
    path = write(task=None, choose={"metrc": "accuracy"})
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: 2 faults\n  - task: missing\n  - choose.metrc: unknown key (did you mean 'metric'?)"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"seeds": {}},
            "seeds: unknown key: expected one of base, checkpoint, choose, data, data_license, devices, "
            "endpoint, limits, methods, name, promote, register, replay, retain, shard, task",
        ),
        ({"replay": {"share": 1, "source": "self"}}, "replay.share: expected a number below 1, found 1"),
        ({"replay": {"source": "tset.jsonl"}}, "replay.source: no such file: "),
        ({"data": {"test": None}}, "data.test: expected text, found null"),
        ({"data": {"validation": 1}}, "data.validation: expected a number below 1 or text, found 1"),
        ({"data": {"columns": {"text": "t"}}}, "data.columns.text: unknown field of the task 'classify'"),
        ({"data": {"columns": {"labl": "l"}}}, "(did you mean 'label'?)"),
        (
            {"data": {"columns": {"input": "a"}, "prompt": "{{ a }}"}},
            "data.prompt: data.columns.input gives the same field: keep one of them",
        ),
        (
            {"task": "text", "data": {"response": "x"}},
            "data.response: the task 'text' has no field for it: it reads text",
        ),
        (
            {"task": "text", "data": {"instruction": "Which one?"}},
            "data.instruction: the task 'text' asks nothing: leave it out",
        ),
        (
            {"choose": {"metric": "acuracy"}},
            "no metric 'acuracy' (did you mean 'accuracy'?): the task 'classify' has",
        ),
        (
            {"methods": ["maml"]},
            "methods.maml: learns from several tasks of one family, and no column says which row is of "
            "which: expected `task: COLUMN` under data.columns",
        ),
        ({"choose": {"metric": "perplexity"}}, "choose.metric: 'perplexity' is no metric of this task"),
        ({"methods": []}, "methods: expected a list of methods, found []"),
        ({"methods": {"lora": {}}}, 'methods: expected a list of methods, found {"lora": {}}'),
        ({"methods": [{"lora": 8}]}, "methods.lora: expected a mapping of settings, found 8"),
        (
            {"methods": [{"lora": {}, "full": {}}]},
            "methods, item 1: expected one method, found lora, full: give each",
        ),
        ({"methods": ["lora", "lora"]}, "methods.lora: is listed twice with the same settings"),
        ({"methods": [{"lora": {"rank": [4, 4]}}]}, "methods.lora: is listed twice with the same settings"),
        ({"methods": [{"lora": {"rank": []}}]}, "methods.lora.rank: expected at least one value, found []"),
        ({"methods": [{"lora": {"rank": "8"}}]}, "methods.lora.rank: expected a whole number, found '8'"),
        ({"methods": [{"lora": {"rank": True}}]}, "methods.lora.rank: expected a whole number, found true"),
        ({"methods": [{"lora": {"rslora": 1}}]}, "methods.lora.rslora: expected true or false, found 1"),
        (
            {"methods": [{"lora": {"rank": list(range(1, 400))}}]},
            "methods.lora: stands for 399 candidates: at most 256",
        ),
        (
            {"methods": [{"lora": {"decoder": "gredy"}}]},
            "methods.lora.decoder: no decoder 'gredy' (did you mean 'greedy'?)",
        ),
        (
            {"methods": [{"lora": {"decoder": {"sample": {"temprature": 1}}}}]},
            "methods.lora.decoder.sample.temprature: unknown key (did you mean 'temperature'?)",
        ),
        (
            {"methods": [{"lora": {"decoder": {"greedy": {}, "sample": {}}}}]},
            "expected one decoder, found greedy, sample",
        ),
        (
            {"methods": [{"few_shot": {"style": ["cloz"]}}]},
            "expected 'instruction', 'question' or 'cloze', found 'cloz'",
        ),
        (
            {"task": "text", "methods": ["few_shot"]},
            "methods.few_shot: does not do the task 'text', only choice, classify, generate, regress",
        ),
        ({"base": "./nowhere"}, "base: no such file: "),
        ({"base": "model.gguf"}, "base: no such file: "),
        ({"base": "train.jsonl"}, "is a file: expected a folder or a .gguf file"),
        ({"base": "."}, "has no config.json: expected a model that transformers can load"),
        ({"data": {"train": "."}}, "is a folder: expected a file"),
        ({"data": {"train": "run.yaml"}}, "data.train: run.yaml: no source reads '.yaml'"),
        ({"retain": {"text": "tset.jsonl"}}, "(did you mean 'test.jsonl'?)"),
    ],
)
def test_a_fault_says_what_was_expected_and_found(write: Write, changes: dict[str, Any], fault: str) -> None:
    found = faults(write(**changes))
    assert len(found) == 1, found
    assert fault in found[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: a\n  task: b\n", "line 2, column 7: mapping values are not allowed here"),
        ("name: a\nname: b\n", "line 2, column 1: the key 'name' is given twice"),
        ("name: !!python/object/apply:os.system ['true']\n", "python/object/apply:os.system"),
        ("on: 1\n", "line 1, column 1: expected text as a key, found true: put it in quotes"),
        ("- name\n", 'expected keys such as name, task, data, methods; found ["name"]'),
        ("", "expected keys such as name, task, data, methods; found nothing"),
        ("a: 1\n---\nb: 2\n", "expected a single document in the stream"),
        ("a: &a [*a]\n", "is nested too deeply"),
        ("a: " + "[" * 500, "is nested too deeply"),
        ("a: .inf\n", "expected finite numbers, found inf"),
        ("a: !!binary aGVsbG8=\n", "expected plain text and numbers, found bytes"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdef")),
            "holds more than 100,000 values",
        ),
    ],
)
def test_a_file_that_is_no_config_is_refused_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    (found,) = faults(path)
    assert fault in found


def test_a_file_that_cannot_be_read_is_refused(write: Write, tmp_path: Path) -> None:
    write()
    assert faults(tmp_path / "rnu.yaml") == (f"no such file: {tmp_path}/rnu.yaml (did you mean 'run.yaml'?)",)
    assert faults(tmp_path) == ("cannot be read (Is a directory): expected a YAML file",)
    (tmp_path / "latin.yaml").write_bytes("name: Café".encode("latin-1"))
    assert faults(tmp_path / "latin.yaml") == ("byte 9 is not UTF-8",)


def test_numbers_and_dates_mean_what_they_look_like(write: Write) -> None:
    path = write()
    path.write_text(
        path.read_text().replace("- zero_shot", "- lora: {learning_rate: 1e-4, weight_decay: 0}")
        + "register: 2026-01-01\nchoose: {margin: .5}\n"
    )
    resolved = load_config(path)
    assert resolved.candidates[0].settings["learning_rate"] == 0.0001
    assert resolved.candidates[0].settings["weight_decay"] == 0
    assert resolved.config.choose.margin == 0.5
    assert resolved.config.register_as == "2026-01-01"


def test_flags_win_and_are_remembered(write: Write) -> None:
    path = write(methods=["zero_shot", {"lora": {"rank": 4}}], register="a")
    flags = ["methods.lora.rank=8", "methods.zero_shot.style=cloze", "data.limit.train=10", "name=b"]
    resolved = load_config(path, [*flags, "register="])
    zero_shot, lora = resolved.candidates
    assert (lora.settings["rank"], zero_shot.settings["style"]) == (8, "cloze")
    assert (resolved.config.name, resolved.config.data.limit.train, resolved.config.register_as) == (
        "b",
        10,
        None,
    )
    origins = resolved.origins
    assert origins["name"] == origins["data.limit.train"] == origins["methods.lora.rank"] == "flag"
    assert origins["data.limit.test"] == origins["methods.lora.alpha"] == "default"
    assert origins["data.train"] == "file"
    assert load_config(path).candidates[1].settings["rank"] == 4


def test_a_flag_can_replace_the_list_of_methods(write: Write) -> None:
    resolved = load_config(write(), ["methods=[{lora: {rank: [2, 4]}}]"])
    assert ids(resolved) == ["lora-rank2", "lora-rank4"]
    assert resolved.origins["methods.lora-rank2.rank"] == "flag"


@pytest.mark.parametrize(
    ("flag", "fault"),
    [
        (
            "data.limit.trian=3",
            "--set data.limit.trian=3: data.limit.trian: unknown key (did you mean 'train'?)",
        ),
        (
            "methods.lora.rank=x",
            "--set methods.lora.rank=x: methods.lora.rank: expected a whole number, found 'x'",
        ),
        (
            "methods.loar.rank=8",
            "--set methods.loar.rank=8: the file lists no method 'loar' (did you mean 'lora'?)",
        ),
        ("data.max_bad", "--set data.max_bad: expected key=value, such as data.max_bad=0.2"),
        ("data..max_bad=1", "--set data..max_bad=1: expected key=value, such as data.max_bad=0.2"),
        ("name.first=x", "--set name.first=x: name has no keys: it is 'intents'"),
        ("methods.lora.target=[", "--set methods.lora.target=[: line 1, column 2: "),
        ("data=3", "--set data=3: data: expected a mapping, found 3"),
    ],
)
def test_a_faulty_flag_is_named(write: Write, flag: str, fault: str) -> None:
    (found,) = faults(write(methods=["lora"]), [flag])
    assert found.startswith(fault)


def test_a_list_for_a_setting_that_is_no_list_makes_a_candidate_of_each(write: Write) -> None:
    resolved = load_config(
        write(
            methods=[
                "zero_shot",
                {"lora": {"rank": [4, 16], "target": ["q_proj", "v_proj"], "seed": [0, 1]}},
                {"few_shot": {"decoder": ["greedy", {"sample": {"temperature": 0.7}}]}},
            ]
        )
    )
    assert ids(resolved)[:5] == [
        "zero_shot",
        "lora-rank4-seed0",
        "lora-rank4-seed1",
        "lora-rank16-seed0",
        "lora-rank16-seed1",
    ]
    assert ids(resolved)[5] == "few_shot-decodergreedy"
    for candidate in resolved.candidates[1:5]:
        assert candidate.settings["target"] == ["q_proj", "v_proj"]
    assert resolved.candidates[2].settings["rank"] == 4
    assert resolved.candidates[2].settings["seed"] == 1
    assert resolved.origins["methods.lora-rank16-seed1.rank"] == "file"
    assert resolved.candidates[6].settings["decoder"]["sample"]["temperature"] == 0.7
    assert set(resolved.candidates[6].settings["decoder"]["sample"]) > {"temperature"}


def test_ids_name_what_differs_and_are_safe_folder_names(write: Write) -> None:
    resolved = load_config(
        write(
            methods=[
                {"lora": {"learning_rate": 3e-4}},
                {"lora": {"learning_rate": 1e-5, "rslora": True}},
                {"lora": {"target": ["q_proj"]}},
                {"lora": {"target": ["q_proj", "k_proj", "v_proj", "o_proj"]}},
                {"few_shot": {"seed": -1}},
                {"few_shot": {"seed": 2}},
            ]
        )
    )
    assert ids(resolved)[:3] == [
        "lora-learning_rate0.0003-rslorafalse-targetnull",
        "lora-learning_rate1e-05-rsloratrue-targetnull",
        "lora-learning_rate0.004-rslorafalse-targetq_proj",
    ]
    assert ids(resolved)[3].startswith("lora-learning_rate0.004-rslorafalse-target")
    assert len(ids(resolved)[3].removeprefix("lora-learning_rate0.004-rslorafalse-target")) == 8
    assert ids(resolved)[4:] == ["few_shot-seed-1", "few_shot-seed2"]


def test_ids_that_would_be_long_or_the_same_carry_a_hash(write: Write) -> None:
    names = ["a.b", "a-very-long-name-of-a-layer-that-nobody-has"]
    resolved = load_config(
        write(
            methods=[
                {"lora": {"target": names[:1]}},
                {"lora": {"target": ["a", "b"]}},
                {"lora": {"target": names}},
            ]
        )
    )
    first, second, third = ids(resolved)
    assert first.startswith("lora-targeta.b-")
    assert second.startswith("lora-targeta.b-")
    assert len({first, second, third}) == 3
    assert max(map(len, (first, second, third))) < 40


def test_candidates_may_need_each_other(write: Write, install: Install) -> None:
    install("stacks", BUILDERS)
    resolved = load_config(write(methods=[{"stack": {"on": ["zero_shot"]}}, "zero_shot"]))
    assert [(each.id, each.needs) for each in resolved.candidates] == [
        ("stack", ("zero_shot",)),
        ("zero_shot", ()),
    ]


@pytest.mark.parametrize(
    ("methods", "fault"),
    [
        (
            [{"stack": {"on": ["zero_shoot"]}}, "zero_shot"],
            "methods.stack: needs the candidate 'zero_shoot' (did you mean 'zero_shot'?); the others",
        ),
        ([{"stack": {"on": ["stack"]}}], "methods: candidates need each other in a circle: stack → stack"),
        (
            [{"stack": {"on": ["stack-onb"]}}, {"stack": {"on": ["stack-ona"]}}],
            "methods.stack-onstack-onb: needs the candidate 'stack-onb'",
        ),
        ([{"stack": {"on": ["crash"]}}], "its plugin cannot say what it needs: KeyError: 'crash'"),
        (
            [{"stack": {"mode": "meen"}}],
            "methods.stack.mode: expected 'mean' or 'vote' or a whole number",
        ),
    ],
)
def test_needs_that_cannot_be_met_are_faults(
    write: Write, install: Install, methods: list[Any], fault: str
) -> None:
    install("stacks", BUILDERS)
    assert fault in faults(write(methods=methods))[0]


def test_a_candidate_stands_as_high_as_those_it_builds_on(write: Write, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("input\n")
    methods = [
        {"ensemble": {"of": ["bootstrap", "lora-rank4"]}},
        {"bootstrap": {"unlabelled": "more.csv", "by": "few_shot", "then": "linear_probe"}},
        {"lora": {"rank": [4, 8]}},
        "few_shot",
    ]
    candidates = {each.id: each for each in load_config(write(methods=methods)).candidates}
    assert {name: each.rung for name, each in candidates.items()} == {
        "ensemble": 1.5,
        "bootstrap": 1.0,
        "lora-rank4": 1.5,
        "lora-rank8": 1.5,
        "few_shot": 0.1,
    }
    assert candidates["ensemble"].needs == ("bootstrap", "lora-rank4")
    settings = candidates["bootstrap"].settings
    assert settings["unlabelled"] == str(tmp_path / "more.csv")
    assert settings["then"]["linear_probe"]["folds"] == 4, "the method inside has all its settings too"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"then": "linear_prob"},
            "methods.bootstrap.then: no method 'linear_prob' (did you mean 'linear_probe'?)",
        ),
        (
            {"then": {"linear_probe": {"fold": 3}}},
            "methods.bootstrap.then.linear_probe.fold: unknown key (did you mean 'folds'?)",
        ),
        (
            {"then": {"lora": {"rank": [2, 4]}}},
            "methods.bootstrap.then: expected one value for each setting, found values for 2 candidates",
        ),
        ({"then": {"lora": {}, "full": {}}}, "expected one method, found lora, full"),
        (
            {"then": {"ensemble": {"of": ["few_shot", "lora"]}}},
            "methods.bootstrap.then: ensemble searches, or builds on candidates: it can only be one itself",
        ),
        (
            {"by": "few_shots"},
            "methods.bootstrap: needs the candidate 'few_shots' (did you mean 'few_shot'?)",
        ),
        ({"by": "bootstrap"}, "candidates need each other in a circle: bootstrap → bootstrap"),
        ({"unlabelled": "mor.csv"}, "mor.csv (did you mean 'more.csv'?)"),
        ({"confidence": 1.5}, "methods.bootstrap.confidence: expected a number of at most 1, found 1.5"),
    ],
)
def test_what_a_bootstrap_cannot_be_made_of(
    write: Write, tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    (tmp_path / "more.csv").write_text("input\n")
    settings = {"unlabelled": "more.csv", "by": "few_shot", "then": "linear_probe", **changes}
    found = faults(write(methods=[{"bootstrap": settings}, "few_shot"]))
    assert any(fault in each for each in found), found


def test_an_ensemble_names_candidates_of_the_run(write: Write) -> None:
    methods = [{"ensemble": {"of": ["zero_shot", "lora"]}}, "zero_shot", {"lora": {"rank": [4, 8]}}]
    (found,) = faults(write(methods=methods))
    assert found == (
        "methods.ensemble: needs the candidate 'lora'; the others are zero_shot, lora-rank4, lora-rank8"
    )


def test_paths_in_settings_and_base_are_relative_to_the_file(
    write: Write, install: Install, tmp_path: Path
) -> None:
    install("stacks", BUILDERS)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "held.jsonl").write_text("")
    (tmp_path / "words.txt").write_text("")
    path = write(methods=[{"stack": {"words": "words.txt"}}], base="model", data={"validation": "held.jsonl"})
    resolved = load_config(path)
    assert resolved.candidates[0].settings["words"] == str(tmp_path / "words.txt")
    assert resolved.config.base == str(tmp_path / "model")
    assert resolved.config.data.validation == str(tmp_path / "held.jsonl")


def test_a_hub_id_is_as_good(write: Write) -> None:
    assert load_config(write(base="HuggingFaceTB/SmolLM2-135M")).config.base == "HuggingFaceTB/SmolLM2-135M"


def test_a_link_keeps_its_own_suffix(write: Write, tmp_path: Path) -> None:
    path = write(data={"train": "link.jsonl"})
    (tmp_path / "blob").write_text("{}\n")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "blob")
    assert load_config(path).config.data.train == str(tmp_path / "link.jsonl")


def test_gates_are_completed_with_their_settings_and_follow_what_is_measured(write: Write) -> None:
    promote = {"gates": [{"better_than_champion": {"margin": -0.01}}, "no_forgetting"]}
    given = [{"better_than_champion": {"margin": -0.01}}, {"no_forgetting": {"most": 0.05}}]
    assert list(load_config(write(promote=promote)).config.promote.gates or ()) == given
    default = load_config(write(retain={"text": "train.jsonl"})).config.promote.gates
    assert default == ({"better_than_champion": {"margin": 0.0}}, {"no_forgetting": {"most": 0.05}})


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        (["no_forgeting"], "promote.gates: no gate 'no_forgeting' (did you mean 'no_forgetting'?); "),
        (
            [{"no_forgetting": {"most": -1}}],
            "promote.gates.no_forgetting.most: expected a number of at least 0, ",
        ),
        (
            [{"no_forgetting": {"mots": 1}}],
            "promote.gates.no_forgetting.mots: unknown key (did you mean 'most'?)",
        ),
        ("no_forgetting", "promote.gates: expected a list of gates, found 'no_forgetting'"),
        ([3], "promote.gates, item 1: expected a gate's name or {name: settings}, found 3"),
    ],
)
def test_a_wrong_gate_is_a_fault_of_the_config(write: Write, gates: Any, expected: str) -> None:
    (fault,) = faults(write(promote={"gates": gates}))
    assert fault.startswith(expected)
