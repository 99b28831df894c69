"""Samplers: what is asked of them, alone and among others, and what they tell of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from stepladder.core.errors import DataError
from stepladder.core.method import DataSchema
from stepladder.core.model.vectors import SampleMethod, Sampler, Shape, to_vectors
from stepladder.core.types import Example
from stepladder.plugins.tasks.synthesize import Synthesize
from torch import Generator, Tensor, nn


class Plain(SampleMethod):
    """Samples are noise beyond the scale, every row is its own reconstruction but for 0.5 of its scale."""

    name = "plain"

    def network(self, shape: Shape) -> nn.Module:
        return nn.Linear(2, 3)

    def loss(self, network: Any, values: Tensor, labels: Tensor, noise: Generator) -> Tensor:
        return network(values).sum()

    def sample(self, network: Any, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        noise = torch.stack([torch.rand(2, generator=draw) for draw in draws])
        return noise * labels.sum(1, keepdim=True) * 1.5

    def reconstruct(self, network: Any, values: Tensor, labels: Tensor) -> Tensor:
        return (values - 0.5).abs()

    def bound(self, network: Any, values: Tensor, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        return values.sum(1)


@pytest.fixture
def sampler() -> Sampler:
    method = Plain(Plain.Settings())
    shape = Shape(numbers=2, labels=2, low=-8, high=8)
    return Sampler(method, DataSchema(Synthesize(), "", ("a", "b")), method.build(shape), shape)


ROWS = [Example(str(place), f"[{place},8]", "ab"[place % 2]) for place in range(5)]


def test_a_row_is_answered_alike_whatever_it_is_asked_with(sampler):
    among = sampler.predict(ROWS)
    assert [sampler.predict([row])[0] for row in ROWS] == among
    assert len({said.predicted for said in among}) == len(ROWS)


def test_samples_are_in_the_rows_own_units_and_end_with_their_scale(sampler):
    numbers = to_vectors([Example("", said.predicted, "") for said in sampler.predict(ROWS)])
    assert (numbers <= 8).all() and (numbers == 8).any() and (numbers < 7).any()


def test_what_is_told_of_a_row_is_in_its_own_units_too(sampler):
    said, _ = sampler.predict([Example("r", "[0,8]", "a"), ROWS[0]])
    # 0.5 and 1 of the scale become 0 and 0.5 of it, which are -8 and 0.
    assert said.figures == {"reconstruction_error": 64.0}
    assert said.negative_log_likelihood == pytest.approx(1.5 + 2 * math.log(16), rel=1e-6)
    assert said.tokens == 2


def test_a_label_alone_is_answered_by_a_sample_alone(sampler):
    said, other = sampler.predict([Example("0", "", "a"), ROWS[1]])
    assert said.predicted == sampler.predict(ROWS)[0].predicted
    assert (said.figures, said.negative_log_likelihood, said.tokens) == ({}, None, 0)
    assert other.figures


def test_a_label_that_train_lacks_is_answered_all_the_same(sampler):
    (said,) = sampler.predict([Example("r", "[0,8]", "c")])
    assert said.predicted == "[-8,-8]"


def test_a_vector_of_another_length_is_told_by_its_row(sampler):
    with pytest.raises(
        DataError, match="row long: its vector has 3 numbers, expected 2, as many as the first"
    ):
        sampler.predict([ROWS[0], Example("long", "[1,2,3]", "a")])


def test_equal_settings_give_equal_weights_and_leave_torchs_seed_alone():
    shape = Shape(2, 2, 0, 1)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, again, other = (Plain(Plain.Settings(seed=seed)).build(shape) for seed in (0, 0, 1))
    assert torch.rand(1) == expected
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
