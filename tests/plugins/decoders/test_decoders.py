"""The decoders, asked of a writer that keeps what it was asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from stepladder.core.decoder import Writer
from stepladder.core.types import Answer, Example, Sampling, Written
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.decoders.sample import Sample

ROWS = [Example("a", "one", ""), Example("b", "two", "")]


class Echo(Writer):
    """Writes each input back, in three tokens."""

    max_new_tokens = 8

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def write(self, examples, sampling, count=1):
        self.asked.append((sampling, count))
        return [[Written(example.input, 3)] for example in examples]


@pytest.mark.parametrize(
    "decoder, sampling",
    [
        (Greedy(Greedy.Settings()), Sampling(temperature=0.0, top_k=None, top_p=1.0, seed=0)),
        (Sample(Sample.Settings()), Sampling(temperature=0.7, top_k=None, top_p=0.95, seed=0)),
        (
            Sample(Sample.Settings(temperature=1.5, top_k=4, top_p=0.5, seed=9)),
            Sampling(temperature=1.5, top_k=4, top_p=0.5, seed=9),
        ),
    ],
    ids=["greedy", "sample", "sample as set"],
)
def test_one_draw_with_the_decoders_settings(decoder, sampling):
    writer = Echo()
    assert decoder.decode(writer, ROWS) == [Answer("one", 3), Answer("two", 3)]
    assert writer.asked == [(sampling, 1)]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}, {"tempreature": 1}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Sample.Settings(**wrong)


def test_greedy_has_no_settings():
    with pytest.raises(ValidationError, match="temperature"):
        Greedy.Settings(temperature=1)
