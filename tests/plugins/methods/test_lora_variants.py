"""LoRA's variants: two learning rates, learned lengths, singular vectors at the start; names of layers."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from stepladder.core.method import Trainable
from stepladder.core.model.base import Base
from stepladder.core.model.layers import find_layers, linear_layers, shortest_names
from stepladder.core.training.context import FitContext
from stepladder.core.training.optimizer import make_optimizer
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods.lora import DoraLinear, Lora, LoraLinear
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

IDS = torch.tensor([[5, 9, 60, 31, 7, 22], [8, 8, 41, 3, 90, 12]])
SMALL = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.12}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": SMALL | LLAMA | {"num_key_value_heads": 2},
    "gpt2": SMALL | {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "bert": SMALL | LLAMA | {"architectures": ["BertModel"]},
}
QKVO = {"q_proj", "k_proj", "v_proj", "o_proj"}
every_family = pytest.mark.parametrize("family", ["llama", "gpt2"])


def build(family: str, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **CONFIGS[family]))
    return model.to(dtype).eval().requires_grad_(False)


def method(**settings: Any) -> Lora:
    return Lora(Lora.Settings(**settings), Greedy(Greedy.Settings()))


def disturb(trainable: Trainable) -> None:
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


# --- LoRA+ ---


def test_b_has_a_learning_rate_of_its_own():
    lora = method(learning_rate=1e-3, b_learning_rate_ratio=16, dora=True)
    trainable = lora.attach(build("llama"))
    rates = {
        id(parameter): group["lr"]
        for group in make_optimizer(trainable, lora.settings).param_groups
        for parameter in group["params"]
    }
    assert len(rates) == len(trainable.parameters) == 2 * 2 * 3
    for name, parameter in trainable.parameters.items():
        assert rates[id(parameter)] == pytest.approx(16e-3 if name.endswith("lora_B") else 1e-3), name


def test_without_a_ratio_there_is_one_group():
    lora = method()
    assert len(make_optimizer(lora.attach(build("llama")), lora.settings).param_groups) == 1


def test_a_head_beside_the_layers_leaves_them_their_rates(load_encoder, toy, tmp_path, monkeypatch):
    seen = []

    def note(trainable: Trainable, settings: Any) -> Any:
        seen.append(make_optimizer(trainable, settings))
        return seen[-1]

    monkeypatch.setattr("stepladder.core.training.loop.make_optimizer", note)
    method(b_learning_rate_ratio=4, learning_rate=1e-2, epochs=1).fit(
        load_encoder(), toy, FitContext(tmp_path)
    )
    groups = [(group["initial_lr"], len(group["params"])) for group in seen[0].param_groups]
    assert groups == [(1e-2, 4), (4e-2, 4), (1e-2, 2)], "A, B, and the head's weight and bias"


# --- DoRA ---


@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_a_layer_with_learned_lengths_by_hand(transposed: bool):
    layer = Conv1D(2, 2) if transposed else nn.Linear(2, 2)
    weight = torch.tensor([[3.0, 0.0], [0.0, 5.0]])  # [out, in]
    layer.weight.data.copy_(weight.T if transposed else weight)
    layer.bias.data.copy_(torch.tensor([10.0, 20.0]))
    dora = DoraLinear(layer, rank=1, scale=2.0, generator=torch.Generator())
    assert dora.magnitude.tolist() == [3.0, 5.0]
    dora.lora_a.data.copy_(torch.tensor([[0.0, 2.0]]))
    dora.lora_b.data.copy_(torch.tensor([[1.0], [0.0]]))
    dora.magnitude.data.copy_(torch.tensor([10.0, 1.0]))
    # W + 2 B A is (3, 4; 0, 5): its rows are 5 and 5 long, and get the lengths 10 and 1.
    assert dora.lengths().tolist() == [5.0, 5.0]
    expected = [[10 + 6.0 + 8.0, 20 + 1.0]]
    assert dora(torch.ones(1, 2)).tolist()[0] == pytest.approx(expected[0], abs=1e-5)
    dora.fold()
    assert layer(torch.ones(1, 2)).tolist()[0] == pytest.approx(expected[0], abs=1e-5)


@every_family
def test_with_learned_lengths_it_starts_at_the_base_bit_for_bit(family: str):
    model = build(family, torch.float32)
    before = logits(model)
    trainable = method(dora=True, target="all-linear").attach(model)
    assert torch.equal(logits(model), before)
    trainable.detach()
    assert not any(isinstance(module, LoraLinear) for module in model.modules())


@every_family
def test_peft_has_the_same_logits_and_gradients_with_learned_lengths(family: str):
    target = ["q_proj", "v_proj"] if family == "llama" else ["c_attn"]
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=target, use_dora=True, fan_in_fan_out=family == "gpt2"
    )
    reference, model = peft.get_peft_model(build(family), config).double().eval(), build(family)
    trainable = method(dora=True, rank=4, alpha=6).attach(model)
    disturb(trainable)
    theirs = {
        name.removeprefix("base_model.model.").replace(".default", "").removesuffix(".weight"): parameter
        for name, parameter in reference.named_parameters()
        if parameter.requires_grad
    }
    assert theirs.keys() == trainable.parameters.keys()
    for name, parameter in trainable.parameters.items():
        theirs[name].data.copy_(parameter.data)
    assert distance(logits(model), logits(reference)) < 1e-6
    for each in (model, reference):
        each(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    for name, parameter in trainable.parameters.items():
        assert parameter.grad.any(), name
        assert torch.allclose(parameter.grad, theirs[name].grad, rtol=1e-5, atol=1e-9), name


# --- PiSSA ---


@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_the_start_is_the_best_approximation_of_the_weight(transposed: bool):
    torch.manual_seed(3)
    layer = Conv1D(24, 40) if transposed else nn.Linear(40, 24)
    layer = layer.double()
    lora = LoraLinear(layer, rank=6, scale=2.0, generator=torch.Generator())
    lora.start_at_principal(seed=0)
    weight = lora.weight()
    rest = weight - 2.0 * lora.lora_b @ lora.lora_a
    tail = torch.linalg.svdvals(weight)[6:]
    assert float(rest.norm().detach()) == pytest.approx(float(tail.norm()), rel=1e-4)
    assert distance(lora.lora_a @ lora.lora_a.T, (lora.lora_b.T @ lora.lora_b)) < 1e-4, (
        "the values' roots in both"
    )


@every_family
@pytest.mark.parametrize("dora", [False, True], ids=["", "dora"])
def test_singular_vectors_start_at_the_base_and_are_kept_for_it(family: str, dora: bool, base: Base, toy):
    model = build(family)
    base = Base(base.ref, model, base.renderer, base.engine)
    before = logits(model)
    lora = method(initial="pissa", rank=4, dora=dora)
    trained = lora.start(base, toy)
    assert distance(logits(model), before) < 1e-10
    first = next(iter(trained.parameters.values()))
    assert first.shape == (4, 32), "what is learned has the rank that was asked for"
    disturb(trained)
    said = logits(model)
    assert distance(said, before) > 0.1
    trained.merge()
    assert distance(logits(model), said) < 1e-10
    assert not any(isinstance(module, LoraLinear) for module in model.modules())


def test_a_fit_from_singular_vectors_moves_them_alone(base: Base, toy, tmp_path):
    fitted = method(initial="pissa", rank=4, epochs=2, weight_decay=0.1, learning_rate=1e-3).fit(
        base, toy, FitContext(tmp_path)
    )
    fitted.trainable.detach()
    plain = method(rank=4).attach(base.model)
    assert fitted.trainable_parameters == plain.count(), "what is subtracted is not learned"
    plain.detach()
    fresh = method(initial="pissa", rank=4).start(base, toy)
    for name, tensor in fresh.frozen.items():
        assert tensor.any()
        assert torch.equal(tensor, fitted.trainable.frozen[name]), "weight decay does not reach it either"
        learned = fitted.trainable.parameters[name.replace("start", "lora")]
        assert not torch.equal(learned, tensor)


def test_an_encoder_keeps_what_its_own_weights_need(load_encoder, toy, tmp_path):
    fitted = method(initial="pissa", rank=4, epochs=1, learning_rate=1e-2).fit(
        load_encoder(), toy, FitContext(tmp_path)
    )
    said = fitted.predict(toy.validation.examples())
    fitted.save(tmp_path)
    schema = fitted.schema
    loaded = type(fitted).load(tmp_path, load_encoder(), schema, method(initial="pissa", rank=4))
    assert loaded.predict(toy.validation.examples()) == said
    assert loaded.merge().largest_logit_difference < 1e-4


# --- names of layers ---


@pytest.mark.parametrize(
    "family, target, last",
    [
        ("llama", "attention", QKVO),
        (
            "llama",
            "all-linear",
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
        ("llama", "o_proj", {"o_proj"}),
        ("gpt2", "all-linear", {"c_attn", "c_proj", "c_fc"}),
    ],
)
def test_names_that_stand_for_many_layers(family: str, target: str, last: set[str]):
    found = find_layers(build(family), target)
    assert {path.rpartition(".")[2] for path in found} == last
    assert len(found) == {4: 8, 7: 14, 1: 2, 3: 8}[len(last)]


def test_layers_of_one_name_are_told_apart_by_what_they_lie_in():
    model = build("gpt2")
    found = find_layers(model, "attention")
    assert sorted(found) == [
        f"transformer.h.{n}.attn.{name}" for n in range(2) for name in ("c_attn", "c_proj")
    ]
    assert sorted(find_layers(model, ["mlp.c_proj"])) == [f"transformer.h.{n}.mlp.c_proj" for n in range(2)]
    names = shortest_names(list(found), list(linear_layers(model)))
    assert names == ["c_attn", "transformer.h.0.attn.c_proj", "transformer.h.1.attn.c_proj"]


@pytest.mark.parametrize(
    "family, settings, fault",
    [
        (
            "llama",
            {"target": "atention"},
            "no linear layer 'atention' (did you mean 'attention'?)",
        ),
        ("llama", {"target": ["q_proj", "v_prj"]}, "no linear layer 'v_prj' (did you mean 'v_proj'?)"),
        ("gpt2", {"target": ["lm_head"]}, "no linear layer 'lm_head'; it has c_attn, c_fc, c_proj"),
        ("bert", {"target": ["q_proj"]}, "no linear layer 'q_proj'; it has dense, key, query, value"),
        ("llama", {"initial": "pissa", "rank": 17}, "rank: 17, but a weight of this base has 16 singular"),
    ],
)
def test_what_does_not_go_with_the_base_is_told_before_weights_are_loaded(
    family: str, settings: dict[str, Any], fault: str
):
    config = {"model_type": family} | CONFIGS[family]
    assert fault in str(Lora.base_fault(Lora.Settings(**settings), config))
    assert Lora.base_fault(Lora.Settings(), config) is None
    assert Lora.base_fault(Lora.Settings(**settings), {"model_type": "unheard of"}) is None
