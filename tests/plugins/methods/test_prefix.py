"""Prefixes: where they start, what they cost, the MLP that is folded away, and what PEFT computes."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from stepladder.core.errors import ModelError
from stepladder.core.model.base import Base
from stepladder.core.model.engine import make_engine
from stepladder.core.model.root import learned_length
from stepladder.core.training.context import FitContext
from stepladder.core.types import Encoded
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods.prefix import NAME, Prefix, activations
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = {"vocab_size": 97, "initializer_range": 0.12}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | LLAMA | {"num_key_value_heads": 2},
    "gpt2": SMALL | {"n_embd": 32, "n_layer": 3, "n_head": 4},
    "falcon": SMALL | {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4},
}
ROWS = [
    Encoded([5, 9, 60, 31, 7, 22], [False] * 3 + [True] * 3),
    Encoded([5, 9, 41, 3, 90], [False] * 2 + [True] * 3),
]


def build(family: str) -> Any:
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **MODELS[family]))
    return model.double().eval().requires_grad_(False)


def method(**settings: Any) -> Prefix:
    return Prefix(Prefix.Settings(**settings), Greedy(Greedy.Settings()))


# --- where it starts, and what it costs ---


@pytest.mark.parametrize(
    "family, count",
    [
        ("llama", 10 * 16 * 3 * 2),  # two heads of keys and values for four of queries
        ("gpt2", 10 * 32 * 3 * 2),
        ("falcon", 10 * 8 * 3 * 2),  # one head for four
    ],
)
def test_it_learns_keys_and_values_of_every_layer(family: str, count: int):
    trainable = method(length=10).attach(build(family))
    assert trainable.count() == count
    assert trainable.parameters[NAME].shape[:3] == (10, 3, 2)


def test_at_full_size_it_is_what_the_design_says():
    with torch.device("meta"):
        sizes = {"hidden_size": 4096, "intermediate_size": 64, "num_attention_heads": 32}
        config = AutoConfig.for_model("llama", num_hidden_layers=32, vocab_size=200, **sizes)
        model = AutoModelForCausalLM.from_config(config)
    assert method(length=100).attach(model).count() == 26_214_400


@pytest.mark.parametrize("family", MODELS)
def test_words_that_it_starts_from_are_read_before_the_input(family: str):
    model = build(family)
    words = [31, 8, 77, 12]
    long = model(input_ids=torch.tensor([[*words, 5, 9, 60]])).logits[0, 4:]
    prefix = method(length=4)
    trainable = prefix.attach(model)
    assert learned_length(model) == 4
    assert make_engine(model, 100).probe_logits([[5, 9, 60]]).shape == (3, 97)
    trainable.parameters[NAME].data.copy_(activations(model, words))
    found = make_engine(model, 100).probe_logits([[5, 9, 60]])
    assert torch.allclose(found.double(), long, atol=1e-5)


def test_it_starts_from_a_training_row_or_a_text(base: Base, toy):
    row = toy.train.encoded(0).tokens[:6]
    words = base.renderer.tokenizer("the car is")["input_ids"]
    for settings, tokens in (({}, row), ({"text": "the car is"}, [*words, *words])):
        expected = base.engine.probe_logits([[*tokens, 9, 60]])[6:]
        trainable = method(length=6, **settings).start(base, toy)
        assert torch.allclose(base.engine.probe_logits([[9, 60]]), expected, atol=1e-4)
        trainable.detach()


def test_frequent_words_differ_from_a_row(base: Base, toy):
    start = method(length=6, initial="vocabulary").start(base, toy).parameters[NAME]
    assert start.dtype == torch.float32
    assert torch.isfinite(start).all() and len(start.flatten(1).unique(dim=0)) > 1


def test_keys_and_values_of_unequal_shapes_are_told():
    torch.manual_seed(0)
    sizes = {
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
    }
    config = AutoConfig.for_model("deepseek_v2", first_k_dense_replace=3, **SMALL, **LLAMA, **sizes)
    with pytest.raises(ModelError, match="prefix: the keys and values of this base are not all of one shape"):
        method().attach(AutoModelForCausalLM.from_config(config).eval())


# --- what it computes ---


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_peft_has_the_same_loss_and_gradient(family: str):
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    reference = peft.get_peft_model(build(family), config).double()
    theirs = reference.prompt_encoder["default"].embedding.weight
    model = build(family)
    engine = make_engine(model, 1000)
    ours = method(length=5).attach(model).parameters[NAME]
    theirs.data.copy_(ours.data.flatten(1))
    expected = 0.0
    for row in ROWS:
        labels = [token if on else -100 for token, on in zip(row.tokens, row.trained, strict=True)]
        loss = reference(input_ids=torch.tensor([row.tokens]), labels=torch.tensor([labels])).loss * 3
        loss.backward()
        expected += float(loss.detach())
    found = 0.0
    for loss, _ in engine.losses(ROWS):
        loss.backward()
        found += float(loss.detach())
    assert found == pytest.approx(expected, rel=1e-6)
    assert float(theirs.grad.abs().max()) > 0.02
    assert torch.allclose(ours.grad.flatten(1), theirs.grad, rtol=1e-5, atol=1e-7)


# --- the MLP ---


def test_the_mlp_is_trained_and_folded_away(base: Base, toy, tmp_path):
    prefix = method(initial="mlp", length=6, mlp_size=12, epochs=4, learning_rate=0.02)
    trained = prefix.start(base, toy)
    # 6 small vectors; 12 to 12; 12 to the keys and values, of 16 numbers each, of 3 layers.
    each = 2 * 3 * base.model.config.num_key_value_heads * base.model.config.head_dim
    assert trained.count() == 6 * 12 + (12 * 12 + 12) + (12 * each + each)
    trained.detach()
    fitted = prefix.fit(base, toy, FitContext(tmp_path))
    assert fitted.report.last_loss < fitted.report.first_loss
    assert list(fitted.trainable.parameters) == [NAME]
    assert fitted.trainable_parameters == fitted.trainable.count() == 6 * each


def test_folded_away_it_says_what_it_said(base: Base, toy):
    trained = method(initial="mlp", length=6, mlp_size=12).start(base, toy)
    before = base.engine.probe_logits([[5, 9, 60]])
    kept = trained.keep()
    assert kept.keep is None
    assert torch.equal(base.engine.probe_logits([[5, 9, 60]]), before)
    kept.detach()
    assert not torch.allclose(base.engine.probe_logits([[5, 9, 60]]), before, atol=0.01)


def test_equal_seeds_give_equal_mlps(base: Base, toy):
    def weights(seed: int) -> list[torch.Tensor]:
        trained = method(initial="mlp", length=3, mlp_size=4, seed=seed).start(base, toy)
        trained.detach()
        return [parameter.detach() for parameter in trained.parameters.values()]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(first, other, strict=True))


# --- bases that cannot have one ---


def test_a_base_without_keys_and_values_is_told_before_weights_are_loaded():
    fault = "a base of the type mamba has no keys and values to put before its input"
    assert Prefix.base_fault(Prefix.Settings(), {"model_type": "mamba"}) == fault
    assert Prefix.base_fault(Prefix.Settings(), {"model_type": "llama"}) is None
    long = Prefix.base_fault(
        Prefix.Settings(length=600), {"model_type": "llama", "max_position_embeddings": 512}
    )
    assert long == "length: 600 learned positions leave no room: the base attends to 512 tokens"
