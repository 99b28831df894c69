"""Tuners of PEFT behind the bridge: what they compute, how they come off, and which are refused and why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from stepladder.core.errors import ModelError, StepError
from stepladder.core.method import DataSchema, Prompt
from stepladder.core.model.base import Base
from stepladder.core.model.engine import PlainEngine, TreeEngine
from stepladder.core.model.peft_export import write_peft
from stepladder.core.model.worded import WEIGHTS, Worded
from stepladder.core.training.context import FitContext
from stepladder.core.types import Encoded
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods import peft as bridge
from stepladder.plugins.methods.peft import Peft

LLAMA = {
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
ROWS = [
    Encoded([5, 9, 60, 31, 7, 22], [False] * 3 + [True] * 3),
    Encoded([5, 9, 60, 3, 90], [False] * 3 + [True] * 2),
    Encoded([5, 9, 41, 3, 90], [False] * 2 + [True] * 3),
]
TUNERS: dict[str, dict[str, Any]] = {
    "IA3": {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "VeRA": {"r": 8, "target_modules": ["q_proj", "o_proj"]},
    "OFT": {"target_modules": ["q_proj"], "oft_block_size": 8},
    "LN-tuning": {},
    "LoKr": {"r": 2, "target_modules": ["v_proj"]},
    "AdaLoRA": {"init_r": 4, "target_r": 2, "target_modules": ["q_proj", "v_proj"]},
}
every_tuner = pytest.mark.parametrize("tuner", TUNERS)


def method(tuner: str, settings: dict[str, Any] | None = None, **training: Any) -> Peft:
    given = TUNERS.get(tuner, {}) if settings is None else settings
    return Peft(Peft.Settings(tuner=tuner, settings=given, **training), Greedy(Greedy.Settings()))


def fault(tuner: str, settings: dict[str, Any] | None = None) -> str | None:
    return Peft.base_fault(Peft.Settings(tuner=tuner, settings=settings or {}), LLAMA)


@torch.no_grad()
def disturb(parameters: Any) -> None:
    generator = torch.Generator().manual_seed(6)
    for parameter in parameters:
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


def loss_and_gradients(engine: Any, parameters: Any) -> tuple[float, list[torch.Tensor]]:
    total = 0.0
    for loss, _ in engine.losses(ROWS):
        loss.backward()
        total += float(loss.detach())
    found = [parameter.grad.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return total, found


# --- what they compute ---


@every_tuner
def test_rows_that_share_tokens_have_the_loss_that_they_have_alone(tuner: str, base: Base):
    base.model.double()
    parameters = list(method(tuner).attach(base.model).parameters.values())
    for parameter in parameters:
        parameter.data = parameter.data.double()
    disturb(parameters)
    assert isinstance(base.engine, TreeEngine)
    shared, ours = loss_and_gradients(base.engine, parameters)
    alone, theirs = loss_and_gradients(PlainEngine(base.model, 1000), parameters)
    assert shared == pytest.approx(alone, rel=1e-6)
    for one, other in zip(ours, theirs, strict=True):
        assert one.any()
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@every_tuner
def test_saved_exported_and_merged_it_says_the_same(tuner: str, load, toy, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    base, probes = load(), [[5, 9, 60, 31], [8, 41]]
    tuned = method(tuner, seed=3)
    trainable = tuned.attach(base.model)
    disturb(trainable.parameters.values())
    said = base.engine.probe_logits(probes)
    assert float((said - load().engine.probe_logits(probes)).abs().max()) > 0.1
    schema = DataSchema(toy.task, toy.instruction, toy.labels)
    Worded(base, schema, Prompt(), tuned, trainable).save(tmp_path)

    again = load()
    loaded = Worded.load(tmp_path, again, schema, method(tuner, seed=3))
    assert torch.equal(again.engine.probe_logits(probes), said)

    adapter = tuned.as_peft(load_file(tmp_path / WEIGHTS), LLAMA)
    (tmp_path / "export").mkdir()
    write_peft(tmp_path / "export", adapter, base.ref)
    plain = AutoModelForCausalLM.from_pretrained(base.ref.path).eval()
    theirs = peft.PeftModel.from_pretrained(plain, str(tmp_path / "export"))
    with torch.no_grad():
        logits = torch.cat([theirs(input_ids=torch.tensor([row])).logits[0] for row in probes])
    assert float((logits - said).abs().max()) < 1e-4

    report = loaded.merge()
    assert report is not None and report.largest_logit_difference < 1e-4
    assert float((again.engine.probe_logits(probes) - said).abs().max()) < 1e-4
    assert not any(parameter.requires_grad for parameter in again.model.parameters())


@every_tuner
def test_taken_off_the_base_is_as_it_was(tuner: str, base: Base):
    before, modules = base.engine.probe_logits([[5, 9, 60]]), list(base.model.modules())
    trainable = method(tuner).attach(base.model)
    disturb(trainable.parameters.values())
    assert not torch.equal(base.engine.probe_logits([[5, 9, 60]]), before)
    trainable.detach()
    assert torch.equal(base.engine.probe_logits([[5, 9, 60]]), before)
    assert list(base.model.modules()) == modules
    method("IA3").attach(base.model).detach()  # as if nothing had been there


def test_what_is_drawn_at_random_is_drawn_by_the_seed(load):
    settings = {"r": 2, "target_modules": ["q_proj"]}
    tuned = (method("LoHa", settings, seed=seed).attach(load().model) for seed in (1, 1, 2))
    first, again, other = (each.tensors() for each in tuned)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_what_is_drawn_once_and_not_learned_is_saved_too(base: Base):
    trainable = method("VeRA").attach(base.model)
    assert set(trainable.frozen) == {"base_model.vera_A", "base_model.vera_B"}
    assert not any(tensor.requires_grad for tensor in trainable.frozen.values())
    assert trainable.count() == 3 * 2 * (8 + 32)


def test_a_tuner_that_folds_into_nothing_is_served_as_it_is(base: Base):
    settings = {"target_modules": ["q_proj"]}
    assert method("BEFT", settings).attach(base.model).merge is None, "these layers have no bias"


def test_a_tuner_that_mixes_rows_is_noticed(base: Base, toy, tmp_path):
    with pytest.raises(ModelError, match=r"peft: LILY cannot run here: .* depends on tokens of other rows"):
        method("LILY").fit(base, toy, FitContext(tmp_path))


# --- AdaLoRA, which does something at each step ---


def adalora(base: Base, **training: Any):
    return method("AdaLoRA", **training).attach(base.model)


def backward(base: Base) -> None:
    for loss, _ in base.engine.losses(ROWS):
        loss.backward()


def ranks(trainable: Any) -> int:
    """How many are left, in the six places of three layers together."""
    return sum(int((each != 0).sum()) for name, each in trainable.parameters.items() if "lora_E" in name)


def step(base: Base, trainable: Any, optimizer: torch.optim.Optimizer) -> None:
    backward(base)
    trainable.each_step.before()
    optimizer.step()
    trainable.each_step.after()
    optimizer.zero_grad()


def test_adalora_is_left_with_as_many_ranks_as_it_was_given(base: Base):
    trainable = adalora(base)
    disturb(trainable.parameters.values())
    trainable.each_step.begin(6)
    optimizer = torch.optim.SGD(trainable.parameters.values(), lr=0.1)
    assert ranks(trainable) == 6 * 4
    left = []
    for _ in range(6):
        step(base, trainable, optimizer)
        left.append(ranks(trainable))
    assert left == sorted(left, reverse=True)
    assert left[-1] == 6 * 2


def test_adalora_adds_the_gradient_of_peft_s_own_penalty(base: Base):
    trainable = adalora(base)
    disturb(trainable.parameters.values())
    trainable.each_step.before()
    ours = [each.grad.clone() for name, each in trainable.parameters.items() if "lora_E" not in name]
    adalora_model = trainable.each_step.adalora
    tokens = torch.tensor([ROWS[0].tokens])
    adalora_model(input_ids=tokens, labels=tokens).loss.backward()
    whole = [each.grad for name, each in trainable.parameters.items() if "lora_E" not in name]
    both = [each.clone() for each in whole]
    for each in trainable.parameters.values():
        each.grad = None
    adalora_model.model(input_ids=tokens, labels=tokens).loss.backward()
    alone = [each.grad for name, each in trainable.parameters.items() if "lora_E" not in name]
    assert all(each.any() for each in alone)
    for penalty, twice, plain in zip(ours, both, alone, strict=True):
        assert torch.allclose(twice, 2 * penalty + plain, atol=1e-6)


def test_adalora_goes_on_from_what_a_checkpoint_keeps(load):
    whole, first, second = load(), load(), load()
    trained = []
    for base in (whole, first, second):
        trainable = adalora(base)
        disturb(trainable.parameters.values())
        trainable.each_step.begin(6)
        trained.append((base, trainable, torch.optim.SGD(trainable.parameters.values(), lr=0.1)))
    for _ in range(6):
        step(*trained[0])
    for _ in range(3):
        step(*trained[1])
    kept = {name: each.clone() for name, each in trained[1][1].each_step.tensors().items()}
    trained[2][1].each_step.restore(kept)
    with torch.no_grad():
        for name, parameter in trained[2][1].parameters.items():
            parameter.copy_(trained[1][1].parameters[name])
    for _ in range(3):
        step(*trained[2])
    for name, parameter in trained[0][1].parameters.items():
        assert torch.equal(parameter, trained[2][1].parameters[name]), name


def test_adalora_is_trained_by_the_loop(base: Base, toy, tmp_path):
    fitted = method("AdaLoRA", {**TUNERS["AdaLoRA"], "tfinal": 1}, epochs=2).fit(
        base, toy, FitContext(tmp_path)
    )
    steps = fitted.trainable.each_step.done
    assert steps == fitted.report.steps > 2
    assert fitted.trainable.each_step.config.total_step == steps
    assert sum(map(sum, fitted.trainable.each_step.config.rank_pattern.values())) == 6 * 2


def test_adalora_says_when_there_are_too_few_steps(base: Base):
    settings = {**TUNERS["AdaLoRA"], "tinit": 3, "tfinal": 2}
    trainable = method("AdaLoRA", settings).attach(base.model)
    with pytest.raises(StepError, match="first tinit=3 and the last tfinal=2 steps, but the training has 5"):
        trainable.each_step.begin(5)


# --- what is refused before weights are loaded ---


@pytest.mark.parametrize(
    "tuner, settings, told",
    [
        ("IA33", {}, "tuner: there is no tuner 'IA33' (did you mean 'IA3'?): PEFT has ADALORA"),
        (
            "IA3",
            {"target_module": ["v_proj"]},
            "settings.target_module: unknown key (did you mean",
        ),
        ("VeRA", {"r": "eight"}, "settings.r: expected a whole number, found 'eight'"),
        (
            "IA3",
            {"target_modules": ["v_prj"]},
            "settings.target_modules: this base has no module 'v_prj'",
        ),
        ("IA3", {"task_type": "CAUSAL_LM"}, "settings.task_type: unknown key"),
        ("C3A", {"block_size": 7}, "PEFT refuses: ValueError: The block size should be a factor"),
        ("VeRA", {"vera_dropout": 0.1}, "settings.vera_dropout: expected 0: dropout is off"),
        ("VeRA", {"modules_to_save": ["lm_head"]}, "the language head is computed apart"),
        ("prefix-tuning", {}, "PREFIX_TUNING learns a prompt: use the method prefix"),
        ("P_TUNING", {}, "P_TUNING learns a prompt: use the method soft_prompt"),
        ("AdaLoRA", {"init_r": 8}, "settings.target_r: expected fewer than init_r, 8; found 8"),
        ("AdaLoRA", {"total_step": 9}, "settings.total_step: unknown key"),
        ("POLY", {}, "POLY cannot run here"),
    ],
)
def test_what_cannot_go_is_told_with_the_nearest_name(tuner: str, settings: dict[str, Any], told: str):
    assert told in str(fault(tuner, settings))


@every_tuner
def test_what_can_go_is_not_refused(tuner: str):
    assert fault(tuner, TUNERS[tuner]) is None


def test_without_the_library_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert fault("IA3") == bridge.INSTALL
    assert "pip install 'stepladder[peft]'" in bridge.INSTALL


def test_every_tuner_has_settings_that_can_be_checked():
    for name, config in bridge.tuners().items():
        assert bridge.settings_model(config).model_fields, name
        assert "no_such_thing: unknown key" in bridge.settings_faults(name, {"no_such_thing": 1})[0]
