"""Contests of literal records."""

from __future__ import annotations

import pytest
from stepladder.core.gate import Contest, Contestant
from stepladder.core.types import Record

ENTRY = {
    "retention": {"perplexity_before": 10.0, "perplexity_after": 10.4, "forgetting": 0.04},
    "cost": {"artifact_bytes": 1_500_000},
}


def right(outcomes, first=0, **about):
    """Records that say `yes`, which is right where the outcome is "1"; `about` is the same for all."""
    return [
        Record(f"row-{place}", "", "yes", "yes" if outcome == "1" else "no", **about)
        for place, outcome in enumerate(outcomes, start=first)
    ]


@pytest.fixture
def contest(registry):
    """Of a challenger against a champion, given their records."""

    def make(ours, theirs=None, *, metrics=("accuracy", "macro_f1"), entry=ENTRY, timed=(), **about):
        champion = None if theirs is None else Contestant("2", ENTRY, theirs)
        by_name = {name: registry.metric(name)() for name in metrics}
        return Contest(Contestant("3", entry, ours, timed), champion, by_name, name="intents", **about)

    return make


@pytest.fixture
def judge(registry):
    """What the gate of that name says of a contest."""

    def ask(name, contest, **settings):
        kind = registry.gate(name)
        return kind(kind.Settings(**settings)).judge(contest)

    return ask
