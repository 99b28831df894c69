"""LoRA: where it starts, what it computes, how it comes off or folds in, and that PEFT computes the same."""

from __future__ import annotations

import math
from typing import Any

import peft
import pytest
import torch
from stepladder.core.errors import ModelError
from stepladder.core.method import DataSchema, Prompt, Trainable
from stepladder.core.model.base import Base
from stepladder.core.model.layers import find_layers
from stepladder.core.model.worded import Worded
from stepladder.plugins.methods.lora import Lora, LoraLinear
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

IDS = torch.tensor([[5, 9, 60, 31, 7, 22], [8, 8, 41, 3, 90, 12]])
SMALL = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.12}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | LLAMA | {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "gpt2": SMALL | {"n_embd": 32, "n_layer": 3, "n_head": 4},
    "gpt_neox": SMALL | LLAMA,
    "phi3": SMALL | LLAMA,
    "bloom": SMALL | {"hidden_size": 32, "n_layer": 1, "n_head": 4},
    "mpt": SMALL | {"d_model": 32, "n_layers": 1, "n_heads": 4},
}


def build(family: str, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **MODELS[family]))
    return model.to(dtype).eval().requires_grad_(False)


@pytest.fixture(params=["llama", "gpt2"])
def model(request) -> Any:
    return build(request.param)


def attach(model: Any, **settings: Any) -> Trainable:
    return Lora(Lora.Settings(**settings)).attach(model)


def fill(trainable: Trainable, spread: float = 0.3) -> None:
    """Both factors Gaussian."""
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def factors(trainable: Trainable, name: str) -> list[nn.Parameter]:
    return [parameter for path, parameter in trainable.parameters.items() if path.endswith(name)]


# --- where it starts ---


def test_at_the_start_the_model_is_the_base_bit_for_bit(model):
    before = logits(model)
    attach(model)
    assert torch.equal(logits(model), before)


def test_a_is_kaiming_uniform_and_b_is_zero():
    trainable = attach(build("llama"), rank=64)
    bound = 1 / math.sqrt(32)  # Kaiming with a = sqrt(5): the limit is 1 / sqrt(inputs)
    for a in factors(trainable, "lora_A"):
        assert a.shape == (64, 32)
        assert 0.98 * bound < float(a.abs().max().detach()) <= bound
        assert float(a.std().detach()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert all(not b.any() for b in factors(trainable, "lora_B"))


def gradient_of(model: Any, trainable: Trainable) -> dict[str, Tensor]:
    found = model(input_ids=IDS, labels=IDS, use_cache=False).loss
    names = list(trainable.parameters)
    values = torch.autograd.grad(found, [trainable.parameters[name] for name in names])
    return dict(zip(names, values, strict=True))


def test_first_gradients(model):
    trainable = attach(model)
    for name, gradient in gradient_of(model, trainable).items():
        assert bool(gradient.any()) == name.endswith("lora_B"), "only B learns at first, since B is zero"


def test_two_zero_factors_never_learn(model):
    trainable = attach(model)
    for a in factors(trainable, "lora_A"):
        a.data.zero_()
    assert not any(gradient.any() for gradient in gradient_of(model, trainable).values())


def test_two_gaussian_factors_do_not_start_at_the_base(model):
    before = logits(model)
    fill(attach(model))
    assert float((logits(model) - before).abs().max()) > 0.1


def test_equal_settings_give_equal_weights_and_another_seed_others():
    first, again, other = (attach(build("llama"), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(p, again.parameters[name]) for name, p in first.parameters.items())
    assert not any(torch.equal(*pair) for pair in zip(factors(first, "A"), factors(other, "A"), strict=True))
    drawn = [a.flatten()[0].item() for a in factors(first, "A")]
    assert len(set(drawn)) == len(drawn), "layers start apart"


# --- what it computes ---


@pytest.mark.parametrize(
    "rank, alpha, rslora, scale",
    [
        (8, 16, False, 2.0),
        (4, 16, False, 4.0),
        (16, 8, False, 0.5),
        (16, 8, True, 2.0),
        (8, 16, True, 5.65685),
    ],
)
def test_scale(rank: int, alpha: float, rslora: bool, scale: float):
    model = build("llama")
    attach(model, rank=rank, alpha=alpha, rslora=rslora)
    scales = [module.scale for module in model.modules() if isinstance(module, LoraLinear)]
    assert scales == pytest.approx([scale] * 6, rel=1e-6)


@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_one_layer_by_hand(transposed: bool):
    layer = Conv1D(2, 3) if transposed else nn.Linear(3, 2)
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])  # [out, in]
    layer.weight.data.copy_(weight.T if transposed else weight)
    layer.bias.data.copy_(torch.tensor([10.0, 20.0]))
    lora = LoraLinear(layer, rank=1, scale=0.5, generator=torch.Generator())
    lora.lora_a.data.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
    lora.lora_b.data.copy_(torch.tensor([[2.0], [-4.0]]))
    x = torch.tensor([[1.0, 1.0, 1.0]])
    # base (1 + 2 + 10, 1 - 1 + 20); A x = 6; B A x / 2 = (6, -12)
    assert lora(x).tolist() == [[19.0, 8.0]]
    lora.fold()
    assert layer(x).tolist() == [[19.0, 8.0]]


def test_trainable_parameters_and_their_names():
    trainable = attach(build("llama"), rank=8)
    # A layer's q: 8 x 32 + 32 x 8; its v, of two grouped heads: 8 x 32 + 16 x 8.
    assert trainable.count() == 3 * (512 + 384)
    assert sorted(trainable.parameters)[:2] == [
        "model.layers.0.self_attn.q_proj.lora_A",
        "model.layers.0.self_attn.q_proj.lora_B",
    ]


def test_peft_computes_the_same_from_the_same_factors(model):
    reference = peft.get_peft_model(
        build(model.config.model_type),
        peft.LoraConfig(
            r=4,
            lora_alpha=6,
            target_modules=["q_proj", "v_proj"] if model.config.model_type == "llama" else ["c_attn"],
            fan_in_fan_out=model.config.model_type == "gpt2",
        ),
    ).eval()
    trainable = attach(model, rank=4, alpha=6)
    fill(trainable)
    theirs = dict(reference.named_parameters())
    with torch.no_grad():
        for name, parameter in trainable.parameters.items():
            theirs[f"base_model.model.{name}.default.weight"].copy_(parameter)
    assert len(trainable.parameters) == sum(parameter.requires_grad for parameter in theirs.values())
    assert float((logits(reference) - logits(model)).abs().max()) <= 1e-6
    assert not torch.allclose(logits(model), logits(build(model.config.model_type)), atol=0.1)


# --- how it comes off, and folds in ---


def test_detached_the_model_is_the_base_bit_for_bit(model):
    before, modules = logits(model), list(model.modules())
    trainable = attach(model)
    fill(trainable)
    trainable.detach()
    assert torch.equal(logits(model), before)
    assert list(model.modules()) == modules


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_merged_weights_say_what_the_attached_ones_said(family: str):
    model = build(family, torch.float32)
    before = logits(model)
    trainable = attach(model)
    fill(trainable)
    attached = logits(model)
    trainable.merge()
    merged = logits(model)
    assert float((attached - before).abs().max()) > 0.1
    assert 0 < float((merged - attached).abs().max()) < 1e-4
    assert not any(isinstance(module, LoraLinear) for module in model.modules())


def test_a_merge_touches_the_adapted_layers_alone():
    model = build("llama")
    before = {name: p.clone() for name, p in model.named_parameters()}
    trainable = attach(model, target=["v_proj"])
    fill(trainable)
    trainable.merge()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {f"model.layers.{layer}.self_attn.v_proj.weight" for layer in range(3)}
    assert model.lm_head.weight is model.model.embed_tokens.weight, "tied weights stay tied"


def test_a_half_precision_base_is_folded_in_float32():
    layer = nn.Linear(32, 32, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    lora = LoraLinear(layer, rank=2, scale=1.0, generator=torch.Generator().manual_seed(0))
    lora.lora_b.data.normal_(generator=torch.Generator().manual_seed(1))
    assert lora.lora_a.dtype == lora.lora_b.dtype == torch.float32
    exact = layer.weight.double() + lora.lora_b.double() @ lora.lora_a.double()
    assert lora(torch.ones(1, 32, dtype=torch.bfloat16)).dtype == torch.bfloat16
    lora.fold()
    assert torch.equal(layer.weight, exact.float().to(torch.bfloat16)), "rounded once"


def test_the_merge_report_gives_the_largest_difference(base: Base, toy):
    method = Lora(Lora.Settings())
    trainable = method.attach(base.model)
    fill(trainable)
    worded = Worded(base, DataSchema(toy.task, toy.instruction, toy.labels), Prompt(), method, trainable)
    before = worded.predict(toy.validation.examples())
    report = worded.merge()
    assert report is not None
    assert 0 < report.largest_logit_difference < 1e-4
    assert report.tokens > 5
    for merged, attached in zip(worded.predict(toy.validation.examples()), before, strict=True):
        assert merged.scores == pytest.approx(attached.scores, abs=1e-4)
    assert worded.merge() is None, "there is nothing left to merge"


# --- which layers ---


@pytest.mark.parametrize(
    "family, layers",
    [
        ("llama", ["q_proj", "v_proj"]),
        ("gpt2", ["c_attn"]),
        ("gpt_neox", ["query_key_value"]),
        ("phi3", ["qkv_proj"]),
        ("bloom", ["query_key_value"]),
    ],
)
def test_default_layers_make_queries_and_values(family: str, layers: list[str]):
    with torch.device("meta"):
        found = {path.rsplit(".", 1)[-1] for path in find_layers(build(family), None)}
    assert found == set(layers)


def test_layers_are_found_by_their_last_name():
    found = find_layers(build("llama"), ["down_proj", "k_proj"])
    assert len(found) == 6
    assert "model.layers.2.mlp.down_proj" in found


@pytest.mark.parametrize(
    "target, message",
    [
        (
            ["q_prj"],
            r"target: this base has no linear layer 'q_prj' \(did you mean 'q_proj'\?\); it has",
        ),
        (["q_proj", "c_attn"], r"no linear layer 'c_attn'.*; it has down_proj, gate_proj, k_proj"),
        (["lm_head"], r"no linear layer 'lm_head'"),
        (["embed_tokens"], r"no linear layer 'embed_tokens'"),
    ],
)
def test_a_target_that_is_no_linear_layer_of_the_trunk_is_refused(target: list[str], message: str):
    with pytest.raises(ModelError, match=message):
        attach(build("llama"), target=target)


def test_a_base_of_an_unknown_make_asks_for_the_layers():
    with pytest.raises(
        ModelError,
        match=r"target: name the layers to adapt, or attention or all-linear; this base has .*Wqkv",
    ):
        attach(build("mpt"))
