"""Every method that is discovered, by the same checks; and the checks, by methods that hand the base back.

A method of a task that has no toy rows here fails until `toy_of` knows the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from stepladder.core.data.wording import Wording
from stepladder.core.discovery import Registry, discover
from stepladder.core.method import Adapted, Data, DataSchema, Method, Prompt, TrainingSettings
from stepladder.core.model.adapter import Description, build_decoder, read_adapter, write_adapter
from stepladder.core.model.base import Base
from stepladder.core.model.gradient import GradientMethod
from stepladder.core.model.worded import Worded
from stepladder.core.training.context import FitContext
from stepladder.core.types import Encoded, Example, Prediction
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.tasks.text import Text

Kind = type[Method]
# Those that need no base are in test_samplers.py.
EVERY = {name: kind for name, kind in discover().methods.items() if "none" not in kind.bases}
# Those that build on other candidates have tests of their own.
METHODS = {name: kind for name, kind in EVERY.items() if kind.needs.__func__ is Method.needs.__func__}
# All rows in each batch, so that the first loss and the last are of the same rows.
QUICK = {"epochs": 12, "batch_size": 48, "micro_batch_size": 48, "learning_rate": 0.05}
# What a method needs, beside QUICK, to learn from so few rows.
FEW = {"maml": {"shots": 3, "episodes": 40}}
# Methods whose learned part is read before the input, so that it changes what the base says from the start.
START_ELSEWHERE = {"soft_prompt", "prefix"}

every_kind = pytest.mark.parametrize("kind", EVERY.values(), ids=EVERY)
every_method = pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)
every_gradient_method = pytest.mark.parametrize(
    "kind", [pytest.param(k, id=name) for name, k in METHODS.items() if issubclass(k, GradientMethod)]
)


def toy_of(kind: Kind, base: Base, toy: Data) -> Data:
    """Rows of a task that the method can do."""
    if kind.needs_tasks:
        return replace(toy, train=of_two_tasks(toy.train), validation=of_two_tasks(toy.validation))
    if "label" in kind.answers:
        return replace(toy, metric=Accuracy() if kind.searches else None)
    assert "likelihood" in kind.answers, f"toy rows are needed for what {kind.name} does: {kind.answers}"
    schema = DataSchema(Text(), "", ())
    wording = Wording(base.renderer, schema, Prompt())

    def split(rows: list[Example]) -> Any:
        examples = [Example(row.id, row.input, row.input) for row in rows]
        encoded = [row for row in wording.encode(examples) if isinstance(row, Encoded)]
        return type(toy.train)(examples, encoded)

    return Data(schema.task, "", (), split(toy.train.examples()), split(toy.validation.examples()))


def of_two_tasks(split: Any) -> Any:
    """The same rows, those that tell of cars or paint as those of one task."""
    rows = [
        replace(row, task="garage" if row.input.split()[1] in ("car", "paint") else "home")
        for row in split.examples()
    ]
    return type(split)(rows, split.tokens)


def build(kind: Kind, registry: Registry) -> Method:
    quick = QUICK if issubclass(kind.Settings, TrainingSettings) else {}
    settings = kind.Settings(**{**quick, **FEW.get(kind.name, {})})
    return kind(settings, build_decoder(getattr(settings, "decoder", None), registry))


def bare(base: Base, data: Data, method: Method, calibrated: bool) -> Worded:
    """The base behind the bare question."""
    worded = Worded(base, DataSchema(data.task, data.instruction, data.labels), Prompt(), method)
    if calibrated:
        worded.calibrate(data.validation.examples())
    return worded


def figure(data: Data, predictions: list[Prediction]) -> float:
    """Right answers, or the log-likelihood of texts: more is better."""
    if data.task.answering == "likelihood":
        return -sum(prediction.negative_log_likelihood or 0.0 for prediction in predictions)
    rows = data.validation.examples()
    return sum(said.predicted == row.expected for said, row in zip(predictions, rows, strict=True))


# --- the checks ---


def check_fits(kind: Kind, load: Callable[[], Base], toy: Data, registry: Registry, folder: Path) -> None:
    """What was fitted answers otherwise than the base, and better; a loss that is trained on falls."""
    base = load()
    data, method = toy_of(kind, base, toy), build(kind, registry)
    rows = data.validation.examples()
    adapted = method.fit(base, data, FitContext(folder))
    said = adapted.predict(rows)
    untouched = bare(load(), data, method, calibrated=False).predict(rows)
    assert [prediction.id for prediction in said] == [row.id for row in rows]
    assert said != untouched, "it says what the base says"
    assert figure(data, said) > figure(data, untouched), "it is no better than the base"
    if kind.name != "zero_shot":  # which is the base behind the best rule
        assert said != bare(load(), data, method, calibrated=True).predict(rows), (
            "it says what zero_shot says"
        )
    if issubclass(kind, GradientMethod):
        check_report(adapted)


def check_report(adapted: Adapted) -> None:
    assert adapted.report is not None, "a gradient method reports on its training"
    assert adapted.report.last_loss < 0.9 * adapted.report.first_loss, "the loss falls"
    assert adapted.report.trained_tokens > 0
    assert adapted.trainable_parameters > 0


@every_method
def test_a_fit_improves_on_the_base(kind: Kind, load, toy, registry, tmp_path):
    check_fits(kind, load, toy, registry, tmp_path)


def handing_back_the_base(kind: Kind, calibrated: bool) -> Kind:
    def fit(self: Method, base: Base, data: Data, context: Any) -> Adapted:
        return bare(base, data, self, calibrated)

    return type(f"Broken{kind.__name__}", (kind,), {"fit": fit})


@pytest.mark.parametrize(
    "kind, calibrated",
    [
        pytest.param(kind, calibrated, id=f"{name}-{'best rule' if calibrated else 'bare'}")
        for name, kind in METHODS.items()
        for calibrated in (False, True)
        if not (calibrated and name == "zero_shot")  # the base behind the best rule is what zero_shot is
    ],
)
def test_a_method_that_hands_the_base_back_is_noticed(
    kind: Kind, calibrated: bool, load, toy, registry, tmp_path
):
    broken = handing_back_the_base(kind, calibrated)
    with pytest.raises(AssertionError):
        check_fits(broken, load, toy, registry, tmp_path)


@every_gradient_method
def test_a_training_that_moves_nothing_is_noticed(kind: Kind, load, toy, registry, tmp_path):
    still = {**QUICK, "learning_rate": 1e-12}
    frozen = type(
        f"Frozen{kind.__name__}",
        (kind,),
        {"__init__": lambda self, _, decoder: kind.__init__(self, kind.Settings(**still), decoder)},
    )
    with pytest.raises(AssertionError):
        check_fits(frozen, load, toy, registry, tmp_path)


# --- before training ---


def weights(method: Any, base: Base) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in method.attach(base.model).parameters.items()}


@every_gradient_method
def test_attached_and_detached(kind: Kind, load, registry):
    base, probes = load(), [[5, 9, 60, 31], [8, 41]]
    before = base.engine.probe_logits(probes)
    trainable = build(kind, registry).attach(base.model)
    assert trainable.count() > 0
    assert all(parameter.requires_grad for parameter in trainable.parameters.values())
    if kind.name not in START_ELSEWHERE:
        assert torch.equal(base.engine.probe_logits(probes), before), "training starts at the base"
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.add_(0.1)
    assert not torch.equal(base.engine.probe_logits(probes), before), "what is learned is used"
    trainable.detach()
    assert torch.equal(base.engine.probe_logits(probes), before), "nothing stays behind"


@every_gradient_method
def test_equal_settings_give_equal_weights(kind: Kind, load, registry):
    first, again = (weights(build(kind, registry), load()) for _ in range(2))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


# --- saved, loaded, and set ---


@every_method
def test_saved_and_loaded_it_says_the_same(kind: Kind, load, toy, registry, tmp_path):
    base = load()
    data, method = toy_of(kind, base, toy), build(kind, registry)
    rows = data.validation.examples()
    adapted = method.fit(base, data, FitContext(tmp_path))
    schema = {"task": data.task.name, "instruction": data.instruction, "labels": list(data.labels)}
    plugin = registry.plugin_of("method", kind.name)
    description = Description(
        method=kind.name,
        settings=method.settings.model_dump(mode="json"),
        plugin=plugin.name,
        plugin_version=plugin.version,
        base=base.ref.name,
        base_fingerprint=base.ref.fingerprint,
        schema=schema,
    )
    assert write_adapter(tmp_path / "artifact", adapted, description) > 0
    loaded = read_adapter(tmp_path / "artifact", load(), registry)
    assert loaded.predict(rows) == adapted.predict(rows)
    assert loaded.trainable_parameters == adapted.trainable_parameters
    assert loaded.alters_base == adapted.alters_base


@every_kind
def test_a_wrong_setting_is_refused_by_its_name(kind: Kind):
    with pytest.raises(ValidationError, match="unheard_of"):
        kind.Settings(unheard_of=1)
    for name in kind.Settings.model_fields:
        with pytest.raises(ValidationError, match=rf"\n{name}\b"):
            kind.Settings(**{name: object()})


@every_kind
def test_a_method_says_what_it_is(kind: Kind, registry):
    assert EVERY[kind.name] is kind
    assert kind.rung >= 0
    assert 10 <= len(kind.summary) <= 80 and not kind.summary.endswith(".")
    assert registry.tasks_of(kind)
    assert (kind.__module__ or "").rpartition(".")[2] == kind.name, "file name = registry name"
