"""Demonstrations: which rows are shown, and that each question draws its own where it is asked to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from pydantic import ValidationError
from stepladder.core.data import demonstrations
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods import few_shot
from stepladder.plugins.methods.few_shot import FewShot, spread


def examples(answers: str) -> list[Example]:
    """One example for each letter, which is its answer."""
    return [Example(f"{place}", f"input {place}", answer) for place, answer in enumerate(answers)]


# --- spread ---


@pytest.mark.parametrize(
    "answers, count, shown",
    [
        ("aaaaaaaabbbc", 3, {"a": 1, "b": 1, "c": 1}),
        ("aaaaaaaabbbc", 6, {"a": 3, "b": 2, "c": 1}),
        ("aaaaaaaabbbc", 7, {"a": 3, "b": 3, "c": 1}),
        ("aaaaaaaabbbc", 99, {"a": 8, "b": 3, "c": 1}),
        ("aabb", 4, {"a": 2, "b": 2}),
        ("", 4, {}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_answers_take_turns_until_their_rows_are_used_up(answers: str, count: int, shown, seed: int):
    found = spread(examples(answers), count, seed)
    counts = Counter(example.expected for example in found)
    if count == 6:  # a and b have the turns that c cannot take, in an order of the seed
        assert sorted(counts.values()) == [1, 2, 3] and counts["c"] == 1
    else:
        assert counts == shown
    assert len({example.id for example in found}) == len(found)


def test_fewer_shots_than_answers_show_different_answers():
    found = spread(examples("aabbccddee"), 3, seed=0)
    assert len({example.expected for example in found}) == 3


def test_the_seed_fixes_rows_and_order():
    rows = examples("aaaabbbbcccc" * 4)
    assert spread(rows, 6, seed=1) == spread(rows, 6, seed=1)
    drawn = {tuple(example.id for example in spread(rows, 6, seed)) for seed in range(6)}
    assert len(drawn) == 6
    first = {spread(rows, 6, seed)[0].expected for seed in range(12)}
    assert first == {"a", "b", "c"}, "no answer always stands first"


# --- fit ---


def fit(base, data, folder, **settings):
    method = FewShot(FewShot.Settings(**settings), Greedy(Greedy.Settings()))
    return method.fit(base, data, FitContext(folder))


def contents(adapted, example: Example) -> list[str]:
    return [turn.content for turn in adapted.wording.turns(example)]


def test_fixed_demonstrations_are_training_rows_and_the_same_for_every_question(base, toy, tmp_path):
    adapted = fit(base, toy, tmp_path, shots=4)
    shown = adapted.prompt.demonstrations
    assert len(shown) == 4
    assert {example.expected for example in shown} == set(toy.labels)
    assert set(shown) <= set(toy.train.examples())
    first, second = (contents(adapted, toy.validation.example(place)) for place in (0, 1))
    assert len(first) == 9
    assert first[:-1] == second[:-1]
    assert first[-1] != second[-1]
    assert adapted.trainable_parameters == 0 and not adapted.alters_base


@pytest.mark.parametrize("labels, shots", [(2, 4), (7, 7), (9, 8)])
def test_unless_told_there_is_a_shot_for_each_label(
    base, toy, tmp_path, monkeypatch, labels: int, shots: int
):
    monkeypatch.setattr(demonstrations, "MOST", 8)
    named = replace(toy, labels=tuple(map(str, range(labels))))
    assert len(fit(base, named, tmp_path).prompt.demonstrations) == shots


@pytest.mark.parametrize(
    "told, tried", [(None, (None, 8, 16)), (1, (1, 2)), (12, (6, 12, 24))], ids=["by the rule", "1", "12"]
)
def test_what_is_asked_for_is_among_what_a_search_tries(told: int | None, tried):
    assert FewShot.search_space(FewShot.Settings(shots=told))["shots"].values == tried


def test_random_demonstrations_are_drawn_by_the_questions_input(base, toy, tmp_path):
    adapted = fit(base, toy, tmp_path, shots=3, demonstrations="random")
    assert adapted.prompt.draw == 3
    one, other = toy.validation.example(0), toy.validation.example(1)
    assert len(contents(adapted, one)) == 7
    assert contents(adapted, one) == contents(adapted, one), "asked again, the same are drawn"
    assert contents(adapted, one)[:-1] != contents(adapted, other)[:-1]
    renamed = replace(one, id="served-0")
    assert contents(adapted, renamed) == contents(adapted, one), "a served row draws as it was judged"
    alone = [adapted.predict([example])[0] for example in (one, other)]
    together = adapted.predict([one, other])
    for apart, beside in zip(alone, together, strict=True):
        assert beside.scores == pytest.approx(apart.scores, rel=1e-4)


def test_the_pool_of_random_demonstrations_is_bounded_but_never_below_the_shots(
    base, toy, tmp_path, monkeypatch
):
    monkeypatch.setattr(few_shot, "POOL", 6)
    assert len(fit(base, toy, tmp_path, shots=2, demonstrations="random").prompt.demonstrations) == 6
    assert len(fit(base, toy, tmp_path, shots=9, demonstrations="random").prompt.demonstrations) == 9


@pytest.mark.parametrize("demonstrations", ["fixed", "random"])
def test_more_shots_than_rows_show_all_rows_and_say_so(base, toy, tmp_path, capsys, demonstrations: str):
    few = replace(toy, train=replace(toy.train, rows=toy.train.rows[:3], tokens=toy.train.tokens[:3]))
    adapted = fit(base, few, tmp_path, shots=8, demonstrations=demonstrations)
    assert len(contents(adapted, toy.validation.example(0))) == 7
    assert "few_shot: 8 shots wanted, 3 training rows there are" in capsys.readouterr().out


def test_the_rule_is_taken_on_validation_rows(base, toy, tmp_path):
    adapted = fit(base, toy, tmp_path, shots=2)
    right = {}
    for rule in ("sum", "mean", "prior"):
        adapted_by_rule = fit(base, toy, tmp_path, shots=2)
        adapted_by_rule.rule = rule
        rows = toy.validation.examples()
        said = adapted_by_rule.predict(rows)
        right[rule] = sum(s.predicted == row.expected for s, row in zip(said, rows, strict=True))
    assert adapted.rule == max(right, key=right.get)


@pytest.mark.parametrize("wrong", [{"shots": 0}, {"demonstrations": "best"}, {"style": "poem"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        FewShot.Settings(**wrong)
