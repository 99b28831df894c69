"""What stands before every sequence, against the plain computation: each row alone behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from stepladder.core.model import engine as engine_module
from stepladder.core.model.architecture import keeps_keys_and_values, learned_fault
from stepladder.core.model.engine import PlainEngine, TreeEngine, make_engine
from stepladder.core.model.generate import Decoding, generate
from stepladder.core.model.root import (
    Learned,
    Root,
    learned_length,
    learned_root,
    read_embeddings,
    read_tokens,
    stand_before,
)
from stepladder.core.training.loop import checkpointing
from stepladder.core.types import Encoded
from torch import Tensor
from transformers import DynamicCache

LENGTH = 7  # longer than the window of 5
TREES = ["llama", "llama_eager", "qwen2_sliding", "gpt2", "gemma", "gemma3", "mistral", "neox", "opt_dropout"]
PLAIN = ["gemma2_capped", "granite", "bloom"]
NEVER = frozenset({96})

Answer = Callable[[list[int]], Tensor]  # token ids to logits [T, V]


def draw(*shape: int, requires_grad: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.3).requires_grad_(requires_grad)


def with_embeddings(model: Any) -> tuple[Tensor, Learned, Answer]:
    vectors = draw(LENGTH, 32)

    def answer(tokens: list[int]) -> Tensor:
        words = model.get_input_embeddings()(torch.tensor([tokens]))
        inputs = torch.cat([vectors[None], words], 1)
        logits: Tensor = model(inputs_embeds=inputs, use_cache=False).logits[0, LENGTH:]
        return logits

    return vectors, Learned(LENGTH, lambda: read_embeddings(model, vectors)), answer


def with_keys_and_values(model: Any) -> tuple[Tensor, Learned, Answer]:
    keys = read_tokens(model, [3]).layers[0][0]
    vectors = draw(len(read_tokens(model, [3]).layers), 2, 1, keys.shape[1], LENGTH, keys.shape[3])

    def answer(tokens: list[int]) -> Tensor:
        cache = DynamicCache()  # of transformers' own, all of it kept
        for number, layer in enumerate(vectors):
            cache.update(layer[0], layer[1], number)
        logits: Tensor = model(input_ids=torch.tensor([tokens]), past_key_values=cache).logits[0]
        return logits

    return vectors, Learned(LENGTH, lambda: Root(tuple((each[0], each[1]) for each in vectors))), answer


KINDS = [with_embeddings, with_keys_and_values]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["embeddings", "keys and values"])


def log_probabilities(answer: Answer, row: Encoded) -> Tensor:
    logits = answer(row.tokens)[:-1].log_softmax(-1)
    chosen = torch.tensor(row.tokens[1:])[:, None]
    return logits.gather(1, chosen)[torch.tensor(row.trained[1:]), 0]


def loss_and_gradient(vectors: Tensor, losses: Callable[[], list[Tensor]]) -> tuple[float, Tensor]:
    vectors.grad = None
    total = 0.0
    for loss in losses():
        loss.backward()
        total += float(loss.detach())
    assert vectors.grad is not None
    return total, vectors.grad.clone()


@pytest.mark.parametrize(
    "family, cap, recompute",
    [
        *((family, 20, False) for family in (*TREES, *PLAIN)),
        *((family, 1000, False) for family in ("llama", "gemma3")),
        *((family, 20, True) for family in ("llama", "gpt2", "gemma3", "granite")),
    ],
)
@every_kind
def test_loss_and_gradient_equal_those_of_each_row_alone(
    model_of, rows, kind: Callable[..., Any], family: str, cap: int, recompute: bool
):
    model = model_of(family)
    engine = make_engine(model, cap)
    assert isinstance(engine, PlainEngine if family in PLAIN else TreeEngine)
    vectors, learned, answer = kind(model)
    expected, slope = loss_and_gradient(
        vectors, lambda: [-log_probabilities(answer, row).sum() for row in rows]
    )
    stand_before(model, learned)
    with checkpointing(model, recompute):
        found = loss_and_gradient(vectors, lambda: (loss for loss, _ in engine.losses(rows)))
    assert found[0] == pytest.approx(expected, rel=1e-6)
    assert float(slope.abs().max()) > 1e-2, "there is a gradient to be compared"
    assert float((found[1] - slope).abs().max()) <= 1e-6 * float(slope.abs().max())


@pytest.mark.parametrize("family", [*TREES, *PLAIN])
@every_kind
def test_scores_equal_those_of_each_row_alone(model_of, rows, kind: Callable[..., Any], family: str):
    model = model_of(family)
    engine = make_engine(model, 1000)
    shared = [row for row in rows if row.tokens[:9] == rows[0].tokens[:9]]
    _, learned, answer = kind(model)
    without = engine.log_probabilities(rows)
    take_away = stand_before(model, learned)
    for some in (rows, shared):  # the second have a beginning that is read once, behind what is learned
        found = engine.log_probabilities(some)
        for values, row in zip(found, some, strict=True):
            assert values == pytest.approx(log_probabilities(answer, row).tolist(), rel=1e-6)
    assert engine.log_probabilities(rows)[-1] != pytest.approx(without[-1], rel=1e-2)
    take_away()
    assert engine.log_probabilities(rows) == without


@pytest.mark.parametrize("family", ["llama", "gemma3", "bloom"])
@every_kind
def test_hidden_states_and_logits_are_behind_it(model_of, rows, kind: Callable[..., Any], family: str):
    model = model_of(family)
    engine = make_engine(model, 40)
    _, learned, answer = kind(model)
    stand_before(model, learned)
    sequences = [row.tokens for row in rows[:3]]
    expected = torch.cat([answer(tokens) for tokens in sequences])
    assert torch.allclose(engine.probe_logits(sequences).double(), expected, atol=1e-5)
    for index, states in engine.hidden_states(sequences):
        last = states[-1]
        logits = model.get_output_embeddings()(last)
        assert torch.allclose(logits, answer(sequences[index]), atol=1e-5)


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "mistral", "gemma3", "qwen2_sliding", "opt_dropout", "granite"]
)
@every_kind
def test_greedy_writing_is_the_arg_max_behind_it(model_of, rows, kind: Callable[..., Any], family: str):
    model = model_of(family).float()  # eager attention gives padding no number in float64
    vectors, learned, answer = kind(model.double())
    model = model.float()
    vectors.data = vectors.data.float()
    stand_before(model, learned)
    prompts = [rows[0].tokens, [7], rows[5].tokens, rows[1].tokens, rows[4].tokens[:15]]
    written = [row[0].tokens for row in generate(model, prompts, NEVER, Decoding(max_new_tokens=6))]
    for prompt, tokens in zip(prompts, written, strict=True):
        for place in range(6):
            with torch.no_grad():
                assert tokens[place] == int(answer([*prompt, *tokens[:place]])[-1].argmax())


def test_a_cache_is_not_written_to(model_of, rows):
    model = model_of("llama")
    root = read_tokens(model, [5, 6, 7])
    before = [tuple(each.clone() for each in layer) for layer in root.layers]
    arguments = root.arguments()
    first, again = (model(input_ids=torch.tensor([[9, 8]]), **arguments).logits for _ in range(2))
    assert torch.equal(first, again)
    assert root.length == 3
    for layer, kept in zip(root.layers, before, strict=True):
        assert all(torch.equal(*pair) for pair in zip(layer, kept, strict=True))


def test_nothing_stands_before_unless_it_was_put_there(model_of):
    model = model_of("gpt2")
    assert learned_root(model) == Root() and learned_length(model) == 0
    assert Root().arguments() == {"use_cache": False}
    take_away = stand_before(model, Learned(LENGTH, Root))
    assert learned_length(model) == LENGTH
    with pytest.raises(AssertionError, match="one learned part at a time"):
        stand_before(model, Learned(LENGTH, Root))
    take_away()
    assert learned_length(model) == 0


def test_a_learned_part_is_computed_once_for_all_scores_and_once_a_tree_for_losses(model_of, rows):
    model, calls = model_of("llama"), []

    def root() -> Root:
        calls.append(1)
        return Root()

    stand_before(model, Learned(0, root))
    engine = TreeEngine(model, 20)
    engine.log_probabilities(rows)
    assert len(calls) == 1
    calls.clear()
    assert len(list(engine.losses(rows))) == len(calls) > 1


# --- before weights are loaded ---


@pytest.mark.parametrize(
    "model_type, keeps",
    [
        ("llama", True),
        ("gpt2", True),
        ("gemma3_text", True),
        ("mamba", False),
        ("rwkv", False),
        ("openai-gpt", False),
        ("jamba", False),
        ("of a plugin of transformers", True),
    ],
)
def test_which_bases_keep_keys_and_values(model_type: str, keeps: bool):
    assert keeps_keys_and_values({"model_type": model_type}) is keeps


def test_what_is_wrong_with_a_base_is_told_by_its_config():
    llama = {"model_type": "llama", "max_position_embeddings": 64}
    assert learned_fault(62, llama) is None
    fault = "length: 63 learned positions leave no room: the base attends to 64 tokens"
    assert learned_fault(63, llama) == fault
    assert learned_fault(63, {"model_type": "gpt2", "n_positions": 64}) == fault
    assert "mamba has no keys and values" in str(learned_fault(5, {"model_type": "mamba"}))


def test_a_tree_that_forgets_what_is_learned_is_noticed(model_of, rows, monkeypatch):
    """The tests above would see it."""
    model = model_of("llama")
    _, learned, answer = with_embeddings(model)
    stand_before(model, learned)
    monkeypatch.setattr(engine_module, "learned_root", lambda model: Root())
    found = TreeEngine(model, 1000).losses(rows)
    expected = sum(float(-log_probabilities(answer, row).sum().detach()) for row in rows)
    assert sum(float(loss.detach()) for loss, _ in found) != pytest.approx(expected, rel=1e-3)
