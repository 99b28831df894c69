"""Attention by blocks: the same figures and gradients as the model's own, and only where it can be asked."""

from __future__ import annotations

import pytest
import torch
from stepladder.core.model import attention
from stepladder.core.model.engine import PlainEngine, TreeEngine, make_engine
from stepladder.core.model.tree import build_tree
from stepladder.core.types import Encoded
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, Qwen2Config

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SLIDING = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
CONFIGS = {
    "llama": lambda: LlamaConfig(**SMALL),
    "qwen2-sliding": lambda: Qwen2Config(**SMALL, **SLIDING),
    "gpt2": lambda: GPT2Config(
        vocab_size=97, n_embd=32, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2, pad_token_id=0
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[request.param]()).double().eval()


def rows() -> list[Encoded]:
    """Five rows behind 11 common tokens, of which pairs share more."""
    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> list[int]:
        return torch.randint(3, 97, (count,), generator=generator).tolist()

    start, middle = draw(11), draw(4)
    tails = [draw(3), middle + draw(2), middle + draw(6), draw(8), middle + draw(1)]
    return [Encoded(start + tail, [False] * 11 + [True] * len(tail)) for tail in tails]


def test_a_block_needs_its_path_and_itself(monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 3)
    tree = build_tree([[5, 6, 7, 8], [5, 6, 9, 10]])
    assert tree.last.tolist() == [5, 5, 3, 3, 5, 5]
    blocks = attention.cut(tree, root=2)
    assert [(block.start, block.end) for block in blocks] == [(0, 3), (3, 6)]
    assert [block.keys.tolist() for block in blocks] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7]]
    tree = build_tree([[5, 6, 7], [5, 8, 9, 10]])
    assert attention.cut(tree)[1].keys.tolist() == [0, 3, 4, 5], "the other branch is left out"


def test_figures_and_gradients_equal_the_models_own(model, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 4)
    expected = PlainEngine(model, 64).log_probabilities(rows())
    reference = gradients(model, PlainEngine(model, 64))
    engine = make_engine(model, 64)
    assert isinstance(engine, TreeEngine)
    assert model.config._attn_implementation == attention.NAME
    for found, wanted in zip(engine.log_probabilities(rows()), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in reference)
    for found, wanted in zip(gradients(model, engine), reference, strict=True):
        assert float((found - wanted).abs().max()) <= 1e-6 * largest


def gradients(model, engine) -> list[torch.Tensor]:
    model.zero_grad()
    for loss, _ in engine.losses(rows()):
        loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_a_soft_cap_keeps_the_models_own_attention():
    torch.manual_seed(0)
    config = Gemma2Config(**SMALL, head_dim=8, sliding_window=6, final_logit_softcapping=None)
    model = AutoModelForCausalLM.from_config(config).double().eval()
    assert isinstance(make_engine(model, 64), TreeEngine)
    assert model.config._attn_implementation == "eager"
