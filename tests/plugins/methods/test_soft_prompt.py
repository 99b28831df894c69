"""Soft prompts: where they start, what they cost, that PEFT computes the same, and where there is no room."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from stepladder.core.errors import ModelError, StepError
from stepladder.core.evaluation.retention import measure_retention
from stepladder.core.model.base import Base
from stepladder.core.model.engine import make_engine
from stepladder.core.model.root import learned_length
from stepladder.core.training.context import FitContext
from stepladder.core.types import Encoded, Sampling
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods.soft_prompt import NAME, SoftPrompt
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = {"vocab_size": 97, "initializer_range": 0.12}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | LLAMA | {"num_key_value_heads": 2},
    "gpt2": SMALL | {"n_embd": 32, "n_layer": 2, "n_head": 4},
}
ROWS = [
    Encoded([5, 9, 60, 31, 7, 22], [False] * 3 + [True] * 3),
    Encoded([5, 9, 41, 3, 90], [False] * 2 + [True] * 3),
]


def build(family: str) -> Any:
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **MODELS[family]))
    return model.double().eval().requires_grad_(False)


def method(**settings: Any) -> SoftPrompt:
    return SoftPrompt(SoftPrompt.Settings(**settings), Greedy(Greedy.Settings()))


# --- where it starts, and what it costs ---


def test_it_learns_a_vector_for_each_position():
    with torch.device("meta"):
        config = AutoConfig.for_model("llama", hidden_size=4096, num_hidden_layers=1, num_attention_heads=32)
        model = AutoModelForCausalLM.from_config(config)
    assert method(length=100).attach(model).count() == 409_600


def test_it_starts_from_frequent_words_of_the_vocabulary(monkeypatch):
    monkeypatch.setattr("stepladder.core.model.initial.FREQUENT", 10)
    model = build("llama")
    vectors = method(length=40).attach(model).parameters[NAME]
    embedding = model.get_input_embeddings().weight
    words = {tuple(vector) for vector in embedding[:10].tolist()}
    drawn = [tuple(vector) for vector in vectors.tolist()]
    assert set(drawn) == words, "40 of the first 10 words"
    assert vectors.dtype == torch.float64


def test_noise_is_as_large_as_the_embeddings():
    model = build("gpt2")
    vectors = method(length=400, initial="random").attach(model).parameters[NAME]
    assert float(vectors.std().detach()) == pytest.approx(
        float(model.get_input_embeddings().weight.std()), rel=0.05
    )


def test_it_starts_from_a_text_repeated_to_its_length(base: Base, toy):
    trainable = method(length=5, initial="text", text="the car is").start(base, toy)
    tokens = base.renderer.tokenizer("the car is")["input_ids"]
    assert len(tokens) == 3
    words = base.model.get_input_embeddings().weight[[*tokens, *tokens[:2]]]
    assert torch.equal(trainable.parameters[NAME], words)


def test_without_a_text_it_starts_from_a_training_row(base: Base, toy):
    trainable = method(length=6, initial="text").start(base, toy)
    words = base.model.get_input_embeddings().weight[toy.train.encoded(0).tokens[:6]]
    assert torch.equal(trainable.parameters[NAME], words)


def test_a_text_without_tokens_is_told(base: Base, toy):
    with pytest.raises(ModelError, match=r"text: '' has no tokens to start from"):
        method(initial="text", text="").start(base, toy)


# --- what it computes ---


@pytest.mark.parametrize("family", MODELS)
def test_peft_has_the_same_loss_and_gradient(family: str):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    reference = peft.get_peft_model(build(family), config).double()
    theirs = reference.prompt_encoder["default"].embedding.weight
    model = build(family)
    engine = make_engine(model, 1000)
    ours = method(length=5).attach(model).parameters[NAME]
    theirs.data.copy_(ours.data)
    expected = 0.0
    for row in ROWS:
        labels = [token if on else -100 for token, on in zip(row.tokens, row.trained, strict=True)]
        loss = reference(input_ids=torch.tensor([row.tokens]), labels=torch.tensor([labels])).loss * 3
        loss.backward()
        expected += float(loss.detach())
    found = 0.0
    for loss, count in engine.losses(ROWS):
        assert count == 6
        loss.backward()
        found += float(loss.detach())
    assert found == pytest.approx(expected, rel=1e-6)
    assert float(theirs.grad.abs().max()) > 0.05
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_what_is_forgotten_is_measured_behind_the_vectors(base: Base):
    text = "the car is very red . my house was quite blue ? " * 400
    before = measure_retention(base, text)
    trainable = method(length=20).attach(base.model)
    behind = measure_retention(base, text)
    trainable.detach()
    assert behind.tokens == before.tokens
    assert behind.perplexity != pytest.approx(before.perplexity, rel=1e-3)
    assert measure_retention(base, text) == before
    method(length=base.context_length // 2 + 1).attach(base.model)
    with pytest.raises(StepError, match=r"retain: there is no room for 256 tokens behind 257 learned"):
        measure_retention(base, text)


# --- where there is no room ---


def test_more_vectors_than_context_are_told_before_weights_are_loaded():
    settings = SoftPrompt.Settings(length=600)
    config = {"model_type": "gpt2", "n_positions": 512}
    fault = "length: 600 learned positions leave no room: the base attends to 512 tokens"
    assert SoftPrompt.base_fault(settings, config) == fault
    assert SoftPrompt.base_fault(settings, config | {"n_positions": 1024}) is None
    assert "mamba" in str(SoftPrompt.base_fault(SoftPrompt.Settings(), {"model_type": "mamba"}))


def test_rows_for_which_there_is_no_room_are_left_out(base: Base, toy, tmp_path, capsys):
    longest = max(len(toy.train.encoded(index).tokens) for index in range(len(toy.train)))
    shortest = min(len(toy.train.encoded(index).tokens) for index in range(len(toy.train)))
    assert shortest < longest
    some = method(length=base.context_length - longest + 1, epochs=0.1)
    some.fit(base, toy, FitContext(tmp_path)).trainable.detach()
    assert f"are longer than the {longest - 1} tokens left to them" in capsys.readouterr().out
    none = method(length=base.context_length - shortest + 1)
    with pytest.raises(
        ModelError, match=r"soft_prompt: .* there is room for no training row: .* lower length"
    ):
        none.fit(base, toy, FitContext(tmp_path))
    assert learned_length(base.model) == base.context_length - shortest + 1


def test_an_answer_for_which_there_is_no_room_is_told(base: Base, toy, tmp_path):
    fitted = method(length=100, epochs=0.1, max_new_tokens=400).fit(base, toy, FitContext(tmp_path))
    with pytest.raises(
        StepError, match=r"attends to 512, 100 learned ones before them included: lower length"
    ):
        fitted.write(toy.train.examples()[:1], Sampling())
