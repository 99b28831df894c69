"""Candidates on an endpoint: what it is asked, what is made of its answers, saved and loaded again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stepladder.core.method import Data, Prompt
from stepladder.core.model.adapter import Description, build_method, read_adapter, write_adapter
from stepladder.core.model.base import load_base
from stepladder.core.model.locate import BaseRef, resolve_base
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example, Message, Sampling
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.tasks.choice import Choice
from stepladder.plugins.tasks.classify import Classify
from stepladder.plugins.tasks.generate import Generate
from stepladder.plugins.tasks.regress import Regress

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from stub_endpoint import says, serving

LABELS = ("blue sky", "red")


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(f"{place}", text, expected) for place, (text, expected) in enumerate(pairs)]


class Rows:
    """A split without tokens, as an endpoint's are."""

    def __init__(self, examples: list[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def examples(self) -> list[Example]:
        return self._examples


TRAIN = rows(("the sea", "blue sky"), ("the rose", "red"), ("the sky", "blue sky"), ("blood", "red"))


def data_of(task, labels=(), train=TRAIN, instruction="which colour ?") -> Data:
    return Data(task, instruction, tuple(labels), train=Rows(train), validation=Rows(train[:1]))


def fit(stub, data: Data, registry, folder: Path, name: str = "zero_shot", **settings):
    method = build_method(name, settings, registry)
    return method.fit(load_base(resolve_base(stub.base(), folder)), data, FitContext(folder))


def test_a_label_is_what_was_written_as_the_option_that_it_means(registry, tmp_path):
    said = {"a": "Blue sky.", "b": "I think it is red", "c": "green or so", "d": ""}
    asked = rows(*((word, "red") for word in said))
    with serving(lambda body: says(said[body["messages"][-1]["content"][-1]])) as stub:
        adapted = fit(stub, data_of(Classify(), LABELS), registry, tmp_path)
        assert not stub.requests, "nothing is fitted, so nothing is asked"
        found = adapted.predict(asked)
    assert [(each.id, each.predicted) for each in found] == [
        ("0", "blue sky"),
        ("1", "red"),
        ("2", "green or so"),
        ("3", ""),
    ]
    assert all(each.scores is None for each in found)
    (first,) = [b for b in stub.requests if b["messages"][-1]["content"].endswith("a")]
    assert first["messages"] == [
        {"role": "user", "content": "which colour ?\n\nAnswer with one of: blue sky, red.\n\na"}
    ]
    assert (first["temperature"], first["max_tokens"]) == (0.0, 128)
    assert adapted.trainable_parameters == 0 and not adapted.alters_base and adapted.merge() is None


def test_demonstrations_are_earlier_turns(registry, tmp_path):
    with serving(lambda body: says("red")) as stub:
        adapted = fit(stub, data_of(Classify(), LABELS), registry, tmp_path, "few_shot", shots=2)
        adapted.predict(rows(("a", "red")))
    turns = stub.requests[0]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
    assert {turn["content"] for turn in turns[1::2]} == set(LABELS)
    assert turns[-1]["content"] == "a"


@pytest.mark.parametrize(
    "task, example, written, predicted",
    [
        (Choice(), Example("0", "q", "sea", options=("sea", "land")), "- Land", "land"),
        (Choice(), Example("0", "q", "sea", options=("sea", "land")), "the sea or land", "the sea or land"),
        (Regress(), Example("0", "q", "3"), "about 2.50 of 5", "2.5"),
        (Regress(), Example("0", "q", "3"), "none", "none"),
        (Generate(), Example("0", "q", "x"), " Some words. ", "Some words."),
    ],
)
def test_each_way_of_answering(task, example, written: str, predicted: str, registry, tmp_path):
    with serving(lambda body: says(written)) as stub:
        (found,) = fit(stub, data_of(task, train=[example]), registry, tmp_path).predict([example])
    assert found.predicted == predicted


def test_a_conversation_is_put_as_it_is(registry, tmp_path):
    asked = [("user", "one?"), ("assistant", "1"), ("user", "two?")]
    turns = [("system", "be brief"), *asked, ("assistant", "2")]
    messages = tuple(Message(role, content) for role, content in turns)
    example = Example("0", "…", "2", messages)
    with serving(lambda body: says("2")) as stub:
        fit(stub, data_of(Generate(), train=[example]), registry, tmp_path).predict([example])
    sent = [(turn["role"], turn["content"]) for turn in stub.requests[0]["messages"]]
    assert sent == [("system", "which colour ?\n\nbe brief"), *asked]


def test_sampling_reaches_the_endpoint(registry, tmp_path):
    decoder = {"sample": {"temperature": 0.4, "top_p": 0.8, "seed": 9}}
    with serving(lambda body: says("red")) as stub:
        settings = {"decoder": decoder, "max_new_tokens": 5}
        fit(stub, data_of(Classify(), LABELS), registry, tmp_path, **settings).predict(rows(("a", "red")))
    (body,) = stub.requests
    sent = {key: body[key] for key in ("temperature", "top_p", "seed", "max_tokens")}
    assert sent == {"temperature": 0.4, "top_p": 0.8, "seed": 9, "max_tokens": 5}


def test_votes_are_drawn_with_a_seed_each_and_counted(registry, tmp_path):
    drawn = {0: "blue sky", 1: "red", 2: "Red"}
    decoder = {"majority_vote": {"n": 3, "temperature": 0.7, "ties": "first"}}
    with serving(lambda body: says(drawn[body["seed"]])) as stub:
        adapted = fit(stub, data_of(Classify(), LABELS), registry, tmp_path, decoder=decoder)
        (found,) = adapted.predict(rows(("a", "red")))
    assert found.predicted == "red"
    assert sorted(body["seed"] for body in stub.requests) == [0, 1, 2]


def test_a_prompt_is_searched_by_what_is_written(registry, tmp_path):
    """The stub proposes an instruction, and answers rightly behind it alone."""
    better = "Name the colour of the thing."

    def answer(body) -> str:
        said = body["messages"][0]["content"]
        if said.startswith("Say this instruction"):
            return says(better)
        return says(("blue sky" if "sea" in said else "red") if better in said else "green")

    train = rows(*((f"{'sea' if n % 2 else 'rose'} {n}", "blue sky" if n % 2 else "red") for n in range(80)))
    data = replace(data_of(Classify(), LABELS, train), metric=Accuracy())
    settings = {"trials": 3, "shots": 0, "proposals": 1, "rows": 32, "max_new_tokens": 20}
    with serving(answer) as stub:
        adapted = fit(stub, data, registry, tmp_path, "prompt_search", **settings)
        said = adapted.predict(train[:4])
    assert adapted.prompt.instruction == better
    assert [each.predicted for each in said] == ["red", "blue sky", "red", "blue sky"]
    adapted.save(tmp_path)
    assert better in (tmp_path / "prompt.txt").read_text()


def test_saved_and_loaded_it_asks_the_same_of_the_same_address(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_KEY", "secret")
    with serving(lambda body: says("red")) as stub:
        access = {"key": "STUB_KEY", "timeout_seconds": 5, "retries": 0, "parallel": 1}
        ref = replace(resolve_base(stub.base(), tmp_path), access=access)
        method = build_method("few_shot", {"shots": 2, "demonstrations": "random"}, registry)
        data = data_of(Classify(), LABELS)
        adapted = method.fit(load_base(ref), data, FitContext(tmp_path))
        schema = {"task": "classify", "instruction": data.instruction, "labels": list(data.labels)}
        settings = method.settings.model_dump(mode="json")
        about = Description(
            "few_shot", settings, "stepladder", "0", ref.name, ref.fingerprint, schema, ref.access
        )
        write_adapter(tmp_path / "artifact", adapted, about)
        assert "secret" not in "".join(path.read_text() for path in (tmp_path / "artifact").iterdir())
        found = Description.read(tmp_path / "artifact").base_ref
        assert found == ref and found.access == access
        loaded = read_adapter(tmp_path / "artifact", load_base(found), registry)
        question = rows(("a", "red"))
        assert loaded.predict(question) == adapted.predict(question)
    assert stub.requests[0] == stub.requests[1]
    assert stub.keys == ["Bearer secret"] * 2
    assert isinstance(loaded.prompt, Prompt) and loaded.prompt == adapted.prompt


def test_several_answers_are_so_many_requests_and_all_their_tokens_count(registry, tmp_path):
    def numbered(body):
        text = f"{body['messages'][-1]['content'][-1]}{body['seed']}"
        return says(text, prompt_tokens=3, completion_tokens=2)

    with serving(numbered) as stub:
        adapted = fit(stub, data_of(Generate()), registry, tmp_path)
        written = adapted.write(rows(("a", ""), ("b", "")), Sampling(temperature=1.0, seed=7), count=2)
    assert [[each.text for each in row] for row in written] == [["a7", "a8"], ["b9", "b10"]]
    assert {(each.tokens, each.log_probability, each.ended) for row in written for each in row} == {
        (2, None, True)
    }
    assert adapted.prompt_tokens == 12


def test_an_endpoint_is_found_by_its_address_alone(tmp_path):
    ref = resolve_base("http://127.0.0.1:9/v1#m", tmp_path)
    assert (ref.name, ref.path) == ("http://127.0.0.1:9/v1#m", "http://127.0.0.1:9/v1#m")
    assert not ref.has_weights
    base = load_base(ref)
    assert base.kind == "endpoint" and base.dtype == "unknown"
    assert BaseRef(**ref.to_json()) == ref
