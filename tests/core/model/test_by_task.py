"""Heads of prototypes, and low-rank updates that leave nothing behind, by literal numbers."""

import pytest
import torch
from stepladder.core.model.by_task import head_logits, prototype_head
from stepladder.core.model.lowrank import new_updates, reading_layers, updated
from torch import nn


def test_the_head_tells_the_nearest_prototype():
    features = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0]])
    head = prototype_head(features, torch.tensor([0, 0, 1]), count=2, sharpness=3.0)
    assert head["head.weight"].tolist() == [[0.0, 6.0], [24.0, 0.0]]
    assert head["head.bias"].tolist() == [-3.0, -48.0]
    asked = torch.tensor([[1.0, 1.0], [3.0, 0.0]])
    centres = torch.tensor([[0.0, 1.0], [4.0, 0.0]])
    distances = -3.0 * (asked[:, None] - centres).square().sum(-1)
    expected = distances.log_softmax(-1)
    assert torch.allclose(head_logits(head, asked).log_softmax(-1), expected, atol=1e-5)


@pytest.fixture
def layers() -> dict[str, nn.Linear]:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
    return {"layer": layer}


def test_an_update_counts_while_it_is_attached(layers):
    x = torch.tensor([[1.0, 2.0]])
    weights = {"layer.a": torch.tensor([[1.0, 1.0]]), "layer.b": torch.tensor([[10.0], [0.0]])}
    with updated(layers, weights):
        assert layers["layer"](x).tolist() == [[31.0, 2.0]]
    assert layers["layer"](x).tolist() == [[1.0, 2.0]]


def test_it_is_off_again_after_a_failure(layers):
    with pytest.raises(RuntimeError), updated(layers, new_updates(layers, 1, 0)):
        raise RuntimeError
    assert not layers["layer"]._forward_hooks


def test_new_updates_change_nothing_and_learn(layers):
    weights = {name: weight.requires_grad_() for name, weight in new_updates(layers, 3, seed=0).items()}
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == {
        "layer.a": (3, 2),
        "layer.b": (2, 3),
    }
    x = torch.tensor([[1.0, 2.0]])
    with updated(layers, weights):
        said = layers["layer"](x)
    assert said.tolist() == [[1.0, 2.0]]
    said.sum().backward()
    assert weights["layer.b"].grad is not None and weights["layer.b"].grad.any()


def test_the_layers_of_a_trunk_that_read_hidden_states(base, load_encoder):
    names = {path.rpartition(".")[2] for path in reading_layers(base.model, base.hidden_size)}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"}
    names = {path.rpartition(".")[2] for path in reading_layers(load_encoder().model, 32)}
    assert names == {"query", "key", "value", "dense"}
