"""A gate that is gone, refuses its settings, raises, or returns anything at all is a no with its reason."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import Field
from stepladder.core.errors import StepError
from stepladder.core.evaluation.judging import ask, ask_all
from stepladder.core.gate import Contest, Contestant, Gate, Verdict
from stepladder.core.method import Settings


class Open(Gate):
    name = "open"

    class Settings(Settings):
        least: int = Field(0, ge=0)

    def judge(self, contest):
        return Verdict(np.bool_(True), "always", {"least": np.int64(self.settings.least), "off": np.nan})


class Broken(Gate):
    name = "broken"

    def judge(self, contest):
        raise KeyError("cost")


class Refusing(Gate):
    name = "refusing"

    def judge(self, contest):
        raise StepError("no such figure was measured")


class Silent(Gate):
    name = "silent"

    def judge(self, contest):
        return True


@pytest.fixture
def gates(registry):
    classes = {each.name: each for each in (Open, Broken, Refusing, Silent)}
    return replace(registry, classes={**registry.classes, "gate": classes})


@pytest.fixture
def contest(share):
    return Contest(Contestant("1", {}, []), None, {"share": share})


def test_figures_become_plain_and_what_is_no_number_null(gates, contest):
    (said,) = ask_all([{"open": {"least": 2}}], contest, gates)
    told = said.to_json()
    assert told == {
        "gate": "open",
        "settings": {"least": 2},
        "passed": True,
        "reason": "always",
        "figures": {"least": 2, "off": None},
    }
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("opne", {}, "no gate 'opne' (did you mean 'open'?); `stepladder plugins` lists them"),
        ("open", {"lest": 1}, "open.lest: unknown key (did you mean 'least'?)"),
        ("open", {"least": -1}, "open.least: expected a number of at least 0, found -1"),
        ("broken", {}, "the gate itself failed: KeyError: 'cost'"),
        ("refusing", {}, "no such figure was measured"),
        ("silent", {}, "the gate returned True, expected a Verdict"),
    ],
)
def test_a_gate_that_cannot_judge_says_no(gates, contest, name, settings, reason):
    assert ask(name, settings, contest, gates) == Verdict(False, reason, {})


def test_all_gates_are_asked_in_order_also_after_a_no_and_the_same_one_twice(gates, contest):
    said = ask_all([{"open": {}}, {"broken": {}}, {"open": {"least": 1}}], contest, gates)
    assert [str(each) for each in said] == [
        "open passed: always",
        "broken refused: the gate itself failed: KeyError: 'cost'",
        "open_2 passed: always",
    ]
