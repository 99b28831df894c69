"""Members that answer together: the arithmetic by hand, and that each answers as it does alone."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from stepladder.core.errors import ModelError, StepError
from stepladder.core.model.adapter import opened, read_adapter, write_adapter
from stepladder.core.training.context import FitContext
from stepladder.core.types import Prediction
from stepladder.plugins.methods import ensemble
from stepladder.plugins.methods.ensemble import Ensemble, mean, vote

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

import building_on

LORA = {"rank": 2, "epochs": 1, "learning_rate": 0.05}


def said(answer, **shares):
    """A prediction with these probabilities, told as unnormalised scores."""
    return Prediction("row", answer, {name: math.log(share) + 3 for name, share in shares.items()})


def test_probabilities_are_averaged_whatever_their_scores_are_shifted_by():
    together = mean([said("a", a=0.9, b=0.1), said("b", a=0.3, b=0.7)])
    assert together.predicted == "a"
    assert {name: math.exp(score) for name, score in together.scores.items()} == pytest.approx(
        {"a": 0.6, "b": 0.4}
    )
    sure = Prediction("row", "a", {"a": 0.0, "b": -1e4})
    assert mean([sure, sure]).scores == {"a": 0.0, "b": pytest.approx(math.log(1e-30))}


@pytest.mark.parametrize(
    ("answers", "taken"), [("aab", "a"), ("abb", "b"), ("ab", "a"), ("ba", "b"), ("cabab", "a"), ("a", "a")]
)
def test_most_votes_win_and_of_equals_the_first_given(answers, taken):
    assert vote([Prediction("row", answer) for answer in answers]) == Prediction("row", taken)


@pytest.fixture
def members(load, toy, registry, tmp_path):
    """The artifacts of a prompt, a probe and an adapter that alters the base."""
    asked = {"zero_shot": {}, "linear_probe": {"layers": 1}, "lora": LORA}
    return {
        name: building_on.fit(name, name, s, load(), toy, tmp_path, registry) for name, s in asked.items()
    }


@pytest.fixture
def together(members, base, toy, registry, tmp_path):
    """Fits an ensemble of some of the members on the tiny base."""
    lent = building_on.lend(members, toy, [], tmp_path, registry)

    def fit(*of, combine="mean"):
        return Ensemble(Ensemble.Settings(of=list(of), combine=combine)).fit(
            base, toy, FitContext(tmp_path, lent=lent)
        )

    return fit


def test_each_member_answers_as_it_does_alone_and_the_base_is_as_before(
    members, together, base, toy, registry
):
    rows, probes = toy.validation.examples(), [[5, 9, 60, 31], [8, 41]]
    before = base.engine.probe_logits(probes)
    alone = []
    for folder in members.values():
        with opened(folder, base, registry) as member:
            alone.append(member.predict(rows))
    found = together("zero_shot", "linear_probe", "lora")
    assert found.predict(rows) == [mean(said) for said in zip(*alone, strict=True)]
    voted = together("zero_shot", "linear_probe", "lora", combine="vote").predict(rows)
    assert voted == [vote(said) for said in zip(*alone, strict=True)]
    assert (base.engine.probe_logits(probes) == before).all()


def test_it_is_as_large_as_its_members_and_has_forgotten_in_the_state_of_those_that_alter(
    together, members, base
):
    probe, everybody = together("zero_shot", "linear_probe"), together("zero_shot", "lora")
    assert not probe.alters_base and list(probe.attached()) == []
    assert everybody.alters_base
    probes = [[5, 9, 60, 31]]
    before = base.engine.probe_logits(probes)
    states = [(base.engine.probe_logits(probes) == before).all() for _ in everybody.attached()]
    assert [bool(state) for state in states] == [False], "one state, in which the adapter is on the base"
    assert (base.engine.probe_logits(probes) == before).all()
    both = together("linear_probe", "lora")
    assert both.trainable_parameters == probe.trainable_parameters + everybody.trainable_parameters


def test_saved_it_stands_alone_and_says_the_same(members, together, load, toy, registry, tmp_path):
    rows = toy.validation.examples()
    found = together("linear_probe", "lora")
    base = load()
    settings = {"of": ["linear_probe", "lora"], "combine": "mean"}
    size = write_adapter(tmp_path / "own", found, building_on.describe("ensemble", settings, base, toy))
    assert size > sum(path.stat().st_size for name in settings["of"] for path in members[name].iterdir())
    before = found.predict(rows)
    for folder in members.values():
        folder.rename(folder.with_name("gone"))
    loaded = read_adapter(tmp_path / "own", base, registry)
    assert loaded.predict(rows) == before
    assert loaded.trainable_parameters == found.trainable_parameters
    assert loaded.alters_base


@pytest.mark.parametrize("change", ["edited", "added", "lost"])
def test_a_member_that_was_changed_is_refused(change, together, load, toy, registry, tmp_path):
    settings = {"of": ["zero_shot", "linear_probe"], "combine": "mean"}
    base = load()
    description = building_on.describe("ensemble", settings, base, toy)
    write_adapter(tmp_path / "own", together(*settings["of"]), description)
    inside = tmp_path / "own" / "members" / "00"
    (inside / "prompt.json").unlink()  # a hard link to the member's own file
    if change == "edited":
        (inside / "prompt.json").write_text("{}")
    if change == "added":
        (inside / "prompt.json").write_text("{}")
        (inside / "more.py").write_text("")
    with pytest.raises(ModelError, match=r"members/00/(prompt.json|more.py)"):
        read_adapter(tmp_path / "own", base, registry)


def test_members_without_probabilities_cannot_be_averaged(together, monkeypatch):
    monkeypatch.setattr(ensemble, "opened", lambda *_: Silent())
    with pytest.raises(
        StepError, match="zero_shot gives no probabilities of its answers here: set combine to vote"
    ):
        together("zero_shot", "linear_probe")


class Silent:
    """A member that answers without scores."""

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def predict(self, examples):
        return [Prediction(example.id, "red") for example in examples]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"of": ["zero_shot"]}, "at least 2"),
        ({"of": ["lora", "lora"]}, "expected different candidates"),
        ({"of": ["a", "b"], "combine": "median"}, "combine"),
    ],
)
def test_wrong_settings_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Ensemble.Settings(**wrong)


def test_what_is_written_can_be_voted_on_and_not_averaged():
    voting = Ensemble.Settings(of=["a", "b"], combine="vote")
    assert Ensemble.answers_on(voting, "causal") == ("label", "choose", "generate")
    assert Ensemble.answers_on(Ensemble.Settings(of=["a", "b"]), "causal") == ("label", "choose")
