"""The engine against the unshared computation: each row alone through the model and plain autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
import torch
from stepladder.core.model import engine as engine_module
from stepladder.core.model import head as head_module
from stepladder.core.model.base import load_base
from stepladder.core.model.engine import PlainEngine, TreeEngine, agrees, make_engine
from stepladder.core.model.locate import BaseRef
from stepladder.core.training.loop import checkpointing
from stepladder.core.types import Encoded
from stepladder.plugins.methods.lora import Lora
from torch import Tensor

Gradients = dict[str, Tensor]
SHARED = [
    "llama", "llama_tied", "llama_eager", "qwen2", "qwen2_sliding", "qwen3", "gpt2", "gemma", "gemma2",
    "gemma3", "mistral", "neox", "opt_dropout",
]  # fmt: skip
UNSHARED = ["gemma2_capped", "granite", "bloom", "mamba"]
TOLERANCE = 1e-6


def alone(model: Any, row: Encoded) -> Tensor:
    """log p of the trained tokens of one row, through the model's own logits."""
    logits = model(input_ids=torch.tensor([row.tokens]), use_cache=False).logits[0, :-1].double()
    chosen = torch.tensor(row.tokens[1:])[:, None]
    return logits.log_softmax(-1).gather(1, chosen)[torch.tensor(row.trained[1:]), 0]


def gradients_of(model: Any, losses: Callable[[], list[Tensor]]) -> tuple[float, Gradients]:
    """The summed loss, and the gradient of every parameter that is trained."""
    model.zero_grad(set_to_none=True)
    total = 0.0
    for loss in losses():
        loss.backward()
        total += float(loss.detach())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return total, {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in trained.items()
    }


def assert_same(found: tuple[float, Gradients], expected: tuple[float, Gradients]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=TOLERANCE)
    largest = max(float(gradient.abs().max()) for gradient in expected[1].values())
    assert largest > 1e-3, "there is a gradient to be compared"
    for name, gradient in expected[1].items():
        assert float((found[1][name] - gradient).abs().max()) <= TOLERANCE * largest, name


def train_everything(model: Any) -> None:
    model.requires_grad_(True)


def train_lora(model: Any) -> None:
    trainable = Lora(Lora.Settings(rank=3)).attach(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.2)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("train", [train_everything, train_lora], ids=["full", "lora"])
@pytest.mark.parametrize("family", SHARED)
def test_loss_and_all_gradients_equal_the_unshared_ones(
    model_of, rows, monkeypatch, family: str, train: Callable[[Any], None], recompute: bool
):
    monkeypatch.setattr(head_module, "CHUNK", 3)
    model = model_of(family)
    train(model)
    expected = gradients_of(model, lambda: [-alone(model, row).sum() for row in rows])
    with checkpointing(model, recompute):
        engine = TreeEngine(model, max_tokens=1000)
        found = gradients_of(model, lambda: [loss for loss, _ in engine.losses(rows)])
    assert_same(found, expected)


@pytest.mark.parametrize("family", ["llama_tied", "gpt2", "gemma3", "mistral"])
@pytest.mark.parametrize("cap", [1, 20, 30])
def test_gradients_do_not_depend_on_how_many_trees_there_are(model_of, rows, family: str, cap: int):
    model = model_of(family)
    train_everything(model)
    expected = gradients_of(model, lambda: [-alone(model, row).sum() for row in rows])
    losses = list(TreeEngine(model, cap).losses(rows))
    assert len(losses) > 1
    assert_same(gradients_of(model, lambda: [loss for loss, _ in losses]), expected)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_batch_of_one(model_of, rows, family: str):
    model = model_of(family)
    train_everything(model)
    expected = gradients_of(model, lambda: [-alone(model, rows[4]).sum()])
    found = gradients_of(model, lambda: [loss for loss, _ in TreeEngine(model, 1000).losses(rows[4:5])])
    assert_same(found, expected)


@pytest.mark.parametrize("family", ["llama", "gemma2_capped"])
def test_without_gradients_the_loss_is_the_same(model_of, rows, family: str):
    engine = make_engine(model_of(family).requires_grad_(True), 30)
    trained = [(float(loss.detach()), count) for loss, count in engine.losses(rows)]
    with torch.no_grad():
        only_seen = [(float(loss), count) for loss, count in engine.losses(rows)]
    assert [count for _, count in only_seen] == [count for _, count in trained]
    assert [loss for loss, _ in only_seen] == pytest.approx([loss for loss, _ in trained], rel=1e-12)


def test_losses_count_trained_tokens(model_of, rows):
    engine = TreeEngine(model_of("llama"), 20)
    counts = [count for _, count in engine.losses(rows)]
    assert sum(counts) == 7 + 2 + 3 + 3 + 3 + 5


@pytest.mark.parametrize("cap", [20, 1000])
@pytest.mark.parametrize("family", SHARED)
def test_log_probabilities_equal_the_unshared_ones(model_of, rows, monkeypatch, family: str, cap: int):
    monkeypatch.setattr(head_module, "CHUNK", 3)
    model = model_of(family)
    found = TreeEngine(model, cap).log_probabilities(rows)
    assert_close(found, [alone(model, row).tolist() for row in rows])


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "neox", "mistral", "gemma3"])
@pytest.mark.parametrize("cap", [12, 1000])
def test_scores_behind_a_beginning_that_is_read_once(model_of, rows, family: str, cap: int):
    shared = [row for row in rows if row.tokens[:9] == rows[0].tokens[:9]]
    model = model_of(family)
    found = TreeEngine(model, cap).log_probabilities(shared)
    assert_close(found, [alone(model, row).tolist() for row in shared])


def test_one_row_and_no_row_are_scored(model_of, rows):
    model = model_of("llama")
    assert TreeEngine(model, 1000).log_probabilities([]) == []
    assert_close(TreeEngine(model, 1000).log_probabilities(rows[:1]), [alone(model, rows[0]).tolist()])


@pytest.mark.parametrize("family", [*SHARED, *UNSHARED])
def test_hidden_states_equal_those_of_each_sequence_alone(model_of, rows, family: str):
    model = model_of(family)
    sequences = [row.tokens for row in rows]
    found = dict(make_engine(model, 40).hidden_states(sequences))
    assert sorted(found) == list(range(len(rows)))
    for index, sequence in enumerate(sequences):
        output = model.base_model(
            input_ids=torch.tensor([sequence]), output_hidden_states=True, use_cache=False
        )
        expected = torch.stack(output.hidden_states)[:, 0]
        assert found[index].shape == expected.shape
        assert float((found[index] - expected).abs().max()) <= 1e-6 * float(expected.abs().max())


# --- which engine a model gets ---


@pytest.mark.parametrize("family", SHARED)
def test_the_tree_serves_models_with_a_linear_head(model_of, family: str):
    assert isinstance(make_engine(model_of(family), 1000), TreeEngine)


@pytest.mark.parametrize("family", UNSHARED)
def test_other_models_run_through_their_own_forward(model_of, rows, family: str):
    model = model_of(family)
    engine = make_engine(model, 1000)
    assert isinstance(engine, PlainEngine)
    assert_close(engine.log_probabilities(rows), [alone(model, row).tolist() for row in rows])
    model.requires_grad_(True)
    expected = gradients_of(model, lambda: [-alone(model, row).sum() for row in rows])
    assert_same(gradients_of(model, lambda: [loss for loss, _ in engine.losses(rows)]), expected)


def test_a_tree_that_forgets_the_branches_is_noticed(model_of, monkeypatch):
    """`agrees` would see a mask that only looks back, whatever stands there."""
    engine = TreeEngine(model_of("llama"), 1000)
    assert agrees(engine)
    monkeypatch.setattr("stepladder.core.model.tree.Tree.mask", causal_mask)
    assert not agrees(engine)


def test_a_beginning_that_is_read_wrongly_is_noticed(model_of, monkeypatch):
    engine = TreeEngine(model_of("llama"), 1000)
    read = engine_module.read_tokens
    backwards = lambda model, tokens, before: read(model, tokens[::-1], before)  # noqa: E731
    monkeypatch.setattr(engine_module, "read_tokens", backwards)
    assert not agrees(engine)


def test_loading_a_model_that_cannot_share_says_so(tmp_path, word_tokenizer, model_of, on_the_cpu):
    word_tokenizer.save_pretrained(tmp_path)
    model_of("granite").float().save_pretrained(tmp_path)
    said: list[str] = []
    base = load_base(BaseRef("tiny-granite", str(tmp_path), "0"), said.append)
    assert isinstance(base.engine, PlainEngine)
    assert len(said) == 1 and "tiny-granite" in said[0] and "without a shared prefix" in said[0]


# --- dropout, and the chunked head ---


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("family", ["gpt2_dropout", "opt_dropout"])
def test_dropout_is_off_in_training(model_of, rows, family: str, recompute: bool):
    model = model_of(family)
    train_everything(model)
    engine = TreeEngine(model, 1000)
    expected = sum(-float(alone(model, row).sum().detach()) for row in rows)
    with checkpointing(model, recompute):
        losses = [[float(loss.detach()) for loss, _ in engine.losses(rows)] for _ in range(2)]
    assert losses[0] == losses[1]
    assert sum(losses[0]) == pytest.approx(expected)


def test_checkpointing_computes_each_layer_twice_and_ends_with_its_block(model_of, rows):
    model = model_of("llama")
    train_everything(model)
    calls: list[int] = []
    model.model.layers[1].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    with checkpointing(model, True):
        (loss, _), *_ = TreeEngine(model, 1000).losses(rows)
        loss.backward()
    assert len(calls) == 2
    (loss, _), *_ = TreeEngine(model, 1000).losses(rows)
    loss.backward()
    assert len(calls) == 3


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("with_bias", [False, True])
def test_chunked_cross_entropy_is_cross_entropy(monkeypatch, chunk: int, with_bias: bool):
    monkeypatch.setattr(head_module, "CHUNK", chunk)
    torch.manual_seed(0)
    head = torch.nn.Linear(6, 11, bias=with_bias, dtype=torch.float64)
    hidden = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (9,))
    inputs = [hidden, *head.parameters()]
    expected = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    found = head_module.cross_entropy_sum(hidden, head, targets)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    found_gradients = torch.autograd.grad(found * 0.5, inputs)
    for ours, theirs in zip(found_gradients, torch.autograd.grad(expected * 0.5, inputs), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_second_derivatives_of_the_chunked_head_are_refused_not_wrong():
    head = torch.nn.Linear(6, 11, dtype=torch.float64)
    hidden = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    loss = head_module.cross_entropy_sum(hidden, head, torch.arange(9))
    (first,) = torch.autograd.grad(loss, hidden, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.pow(2).sum(), hidden)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_each_position_is_projected_once_for_all_its_targets(monkeypatch, chunk: int):
    monkeypatch.setattr(head_module, "CHUNK", chunk)
    projected: list[int] = []
    logits = head_module._logits
    monkeypatch.setattr(
        head_module, "_logits", lambda hidden, *rest: projected.append(len(hidden)) or logits(hidden, *rest)
    )
    torch.manual_seed(0)
    head, hidden = torch.nn.Linear(6, 11, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    positions, targets = torch.tensor([4, 0, 4, 2, 4, 0]), torch.tensor([1, 2, 3, 4, 5, 2])
    found = head_module.log_probabilities(hidden, head, positions, targets)
    expected = head(hidden).log_softmax(-1)[positions, targets]
    assert torch.allclose(found, expected, rtol=1e-12)
    assert sum(projected) == 3


def causal_mask(tree, dtype, device, window=None, root=0) -> Tensor:
    mask = torch.full((len(tree), root + len(tree)), torch.finfo(dtype).min, dtype=dtype, device=device)
    return mask.triu(root + 1)[None, None]


def assert_close(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> None:
    assert list(map(len, found)) == list(map(len, expected))
    assert list(chain.from_iterable(found)) == pytest.approx(list(chain.from_iterable(expected)), rel=1e-6)
