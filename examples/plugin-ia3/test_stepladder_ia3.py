"""IA3: one layer by hand, where it starts, how it comes off, and how it folds into the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepladder_ia3 import IA3, Rescaled
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

TINY = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, **TINY)).double().eval().requires_grad_(False)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model(input_ids=torch.tensor([[5, 9, 60, 31]])).logits


@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
@pytest.mark.parametrize("inputs, expected", [(True, [10.0, 16.0]), (False, [18.0, 36.0])])
def test_one_layer_by_hand(inputs: bool, expected: list[float], transposed: bool) -> None:
    layer = Conv1D(2, 2) if transposed else nn.Linear(2, 2)
    weight = torch.tensor([[1.0, 3.0], [4.0, 1.0]])  # [out, in]
    layer.weight.data.copy_(weight.T if transposed else weight)
    layer.bias.data.copy_(torch.tensor([5.0, 7.0]))
    rescaled = Rescaled(layer, inputs)
    rescaled.vector.data.copy_(torch.tensor([2.0, 1.0] if inputs else [2.0, 3.0]))
    assert rescaled(torch.ones(2)).tolist() == expected
    rescaled.fold()
    assert layer(torch.ones(2)).tolist() == expected


def test_it_starts_at_the_base_is_used_comes_off_and_folds_in(model: Any) -> None:
    before = logits(model)
    trainable = IA3(IA3.Settings()).attach(model)
    assert trainable.count() == 2 * (32 + 32 + 48)
    assert torch.equal(logits(model), before)
    for parameter in trainable.parameters.values():
        parameter.data += 0.5
    said = logits(model)
    assert not torch.allclose(said, before, atol=1e-3)
    trainable.detach()
    assert torch.equal(logits(model), before)
    again = IA3(IA3.Settings()).attach(model)
    for parameter in again.parameters.values():
        parameter.data += 0.5
    again.merge()
    assert torch.allclose(logits(model), said, atol=1e-5)  # RMSNorm computes in float32


def test_a_layer_that_the_base_lacks_is_told_before_weights_are_loaded() -> None:
    config = {"model_type": "llama", **TINY}
    assert IA3.base_fault(IA3.Settings(), config) is None
    assert "(did you mean 'k_proj'?)" in IA3.base_fault(IA3.Settings(outputs=["k_prj"]), config)
