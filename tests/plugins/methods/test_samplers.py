"""Every method that needs no base, by the same checks; and what the rivals look for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from stepladder.core.discovery import discover
from stepladder.core.errors import ModelError
from stepladder.core.method import Data
from stepladder.core.model.adapter import Description, read_adapter, write_adapter
from stepladder.core.model.base import load_base
from stepladder.core.model.locate import NO_BASE, BaseRef
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example
from stepladder.plugins.methods.classifier_ascent import ClassifierAscent
from stepladder.plugins.methods.random_search import RandomSearch
from stepladder.plugins.tasks.synthesize import Synthesize

METHODS = {name: kind for name, kind in discover().methods.items() if "none" in kind.bases}
QUICK = {"epochs": 12, "hidden": 16, "learning_rate": 0.01}

every_method = pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)


class Rows(list):
    def examples(self) -> list[Example]:
        return list(self)


@pytest.fixture
def bars() -> Data:
    """Images of 3 x 3 with a bright column at one side, of a brightness of their own."""
    rows = []
    for place in range(60):
        side, bright = place % 2, 4 + place % 13
        image = [bright if column == 2 * side else place % 3 for _ in range(3) for column in range(3)]
        rows.append(Example(f"r{place}", str(image), ("left", "right")[side]))
    return Data(Synthesize(), "", ("left", "right"), train=Rows(rows[:48]), validation=Rows(rows[48:]))


def fit(kind: Any, data: Data, folder: Any) -> Any:
    return kind(kind.Settings(**QUICK)).fit(load_base(NO_BASE), data, FitContext(folder))


@every_method
def test_its_loss_falls_and_it_answers_every_row_with_a_vector(kind, bars, tmp_path):
    adapted = fit(kind, bars, tmp_path)
    assert adapted.report.last_loss < 0.9 * adapted.report.first_loss
    assert adapted.report.trained_tokens == 12 * 48 * 9
    assert adapted.trainable_parameters > 0 and not adapted.alters_base
    rows = bars.validation.examples()
    said = adapted.predict(rows)
    assert [prediction.id for prediction in said] == [row.id for row in rows]
    assert all(prediction.predicted.count(",") == 8 for prediction in said)


@every_method
def test_saved_and_loaded_it_says_the_same_and_on_no_base(kind, bars, registry, tmp_path, base_folder):
    adapted = fit(kind, bars, tmp_path)
    description = Description(
        method=kind.name,
        settings=QUICK,
        plugin="stepladder",
        plugin_version="0",
        base=NO_BASE.name,
        base_fingerprint=NO_BASE.fingerprint,
        schema={"task": "synthesize", "instruction": "", "labels": list(bars.labels)},
    )
    assert write_adapter(tmp_path / "artifact", adapted, description) > 0
    loaded = read_adapter(tmp_path / "artifact", load_base(NO_BASE), registry)
    rows = bars.validation.examples()
    assert loaded.predict(rows) == adapted.predict(rows)
    assert loaded.trainable_parameters == adapted.trainable_parameters
    other = load_base(BaseRef("tiny", str(base_folder), "0" * 64))
    with pytest.raises(ModelError, match="fitted on none"):
        read_adapter(tmp_path / "artifact", other, registry)


@every_method
def test_a_method_says_what_it_is_and_refuses_wrong_settings(kind, registry):
    assert kind.rung >= 0
    assert 10 <= len(kind.summary) <= 80 and not kind.summary.endswith(".")
    assert registry.tasks_of(kind) == ("synthesize",)
    assert (kind.__module__ or "").rpartition(".")[2] == kind.name, "file name = registry name"
    with pytest.raises(ValidationError, match="unheard_of"):
        kind.Settings(unheard_of=1)
    for name in kind.Settings.model_fields:
        with pytest.raises(ValidationError, match=rf"\n{name}\b"):
            kind.Settings(**{name: object()})


def favouring(number: int) -> torch.nn.Sequential:
    """A classifier of 4 numbers whose second label is the surer the larger that number is."""
    linear = torch.nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        linear.weight[1, number] = 1.0
    return torch.nn.Sequential(linear)


def draws(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(place) for place in range(count)]


def test_random_search_keeps_the_surest_of_all_it_tried():
    method = RandomSearch(RandomSearch.Settings(tries=50))
    first, second = method.sample(favouring(2), torch.eye(2), draws(2))
    tried = [torch.rand(50, 4, generator=draw) for draw in draws(2)]
    assert torch.equal(first, tried[0][tried[0][:, 2].argmin()])
    assert torch.equal(second, tried[1][tried[1][:, 2].argmax()])


def test_ascent_climbs_to_the_end_of_the_scale_and_leaves_the_rest_as_it_was():
    method = ClassifierAscent(ClassifierAscent.Settings(steps=5, step=0.3))
    with torch.no_grad():
        (sample,) = method.sample(favouring(2), torch.tensor([[0.0, 1.0]]), draws(1))
    start = torch.rand(4, generator=draws(1)[0])
    assert sample[2] == 1
    assert torch.equal(sample[[0, 1, 3]], start[[0, 1, 3]])
