"""Writing: next-token distributions by hand, and the loop against transformers' own greedy decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepladder.core.model import generate as generate_module
from stepladder.core.model.generate import Decoding, generate, next_token_probabilities
from torch import Tensor
from transformers import LlamaConfig
from transformers.modeling_outputs import CausalLMOutputWithPast

LOGITS = torch.tensor([[2.0, 1.0, 0.5]])
NEVER = frozenset({96})


def probabilities(**decoding: Any) -> list[float]:
    return next_token_probabilities(LOGITS.double(), Decoding(**decoding))[0].tolist()


class Fixed:
    """A model that says the same of every token: the three logits above."""

    device = torch.device("cpu")
    config = LlamaConfig(vocab_size=3, num_hidden_layers=1)

    def __call__(self, input_ids: Tensor, **_: Any) -> CausalLMOutputWithPast:
        return CausalLMOutputWithPast(logits=LOGITS.expand(len(input_ids), 1, 3))


# --- distributions ---


@pytest.mark.parametrize(
    "temperature, expected",
    [
        (1.0, [0.629, 0.231, 0.140]),
        (0.5, [0.844, 0.114, 0.042]),
        (2.0, [0.481, 0.292, 0.227]),
        (1e-4, [1.0, 0.0, 0.0]),
        (0.0, [1.0, 0.0, 0.0]),
        (1e6, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_temperature(temperature: float, expected: list[float]):
    assert probabilities(temperature=temperature) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    "top_k, expected",
    [
        (1, [1.0, 0.0, 0.0]),
        (2, [0.7311, 0.2689, 0.0]),
        (3, [0.6285, 0.2312, 0.1402]),
        (9, [0.6285, 0.2312, 0.1402]),
    ],
)
def test_top_k(top_k: int, expected: list[float]):
    assert probabilities(temperature=1.0, top_k=top_k) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "top_p, expected",
    [
        (0.01, [1.0, 0.0, 0.0]),
        (0.62, [1.0, 0.0, 0.0]),
        (0.64, [0.7311, 0.2689, 0.0]),
        (0.85, [0.7311, 0.2689, 0.0]),
        (0.87, [0.6285, 0.2312, 0.1402]),
        (1.0, [0.6285, 0.2312, 0.1402]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_its_mass(top_p: float, expected: list[float]):
    assert probabilities(temperature=1.0, top_p=top_p) == pytest.approx(expected, abs=1e-4)


def test_top_p_is_taken_of_what_top_k_left():
    # Of the two left, the first has 0.7311: enough for 0.7, which it is not of all three.
    assert probabilities(temperature=1.0, top_k=2, top_p=0.7) == [1.0, 0.0, 0.0]


def test_tokens_keep_their_places_whatever_their_order():
    logits = torch.tensor([[0.5, 2.0, 1.0], [1.0, 0.5, 2.0]])
    found = next_token_probabilities(logits, Decoding(temperature=1.0, top_p=0.85))
    assert found.tolist() == [
        pytest.approx([0.0, 0.7311, 0.2689], abs=1e-4),
        pytest.approx([0.2689, 0.0, 0.7311], abs=1e-4),
    ]


# --- sampling ---


def test_frequencies_of_20000_draws(monkeypatch):
    monkeypatch.setattr(generate_module, "BATCH", 4000)
    drawn = generate(Fixed(), [[0]] * 20_000, NEVER, Decoding(temperature=1.0, max_new_tokens=1, seed=3))
    counts = torch.tensor(drawn)[:, 0].bincount(minlength=3)
    assert (counts / 20_000).tolist() == pytest.approx([0.629, 0.231, 0.140], abs=0.012)


def test_a_seed_fixes_the_draws_and_another_changes_them():
    def draw(seed: int) -> list[list[int]]:
        return generate(
            Fixed(), [[0], [0, 1]], NEVER, Decoding(temperature=1.0, max_new_tokens=40, seed=seed)
        )

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(1)[0] != draw(1)[1], "rows are drawn apart"


# --- the loop ---


def by_transformers(model: Any, prompt: list[int], stop: int, count: int) -> list[int]:
    """Greedy, one prompt alone, without the stop token."""
    ids = torch.tensor([prompt])
    written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=stop,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return written[: written.index(stop)] if stop in written else written


@pytest.fixture
def prompts(rows) -> list[list[int]]:
    """Lengths 20, 1, 6 and 15: three of them longer than the window of 5."""
    return [rows[0].tokens, [7], rows[5].tokens, rows[1].tokens]


@pytest.mark.parametrize(
    "family",
    [
        "llama",
        "gpt2",
        "neox",
        "opt_dropout",
        "gemma2_capped",
        "granite",
        "mistral",
        "gemma3",
        "qwen2_sliding",
    ],
)
def test_greedy_is_transformers_greedy_token_by_token(model_of, prompts, family: str):
    model = model_of(family).float()  # eager attention gives padding no number in float64
    written = generate(model, prompts, NEVER, Decoding(max_new_tokens=12))
    assert written == [by_transformers(model, prompt, stop=96, count=12) for prompt in prompts]


def test_a_stop_token_ends_its_row_alone_and_is_left_out(model_of, prompts):
    model = model_of("llama")
    free = generate(model, prompts, NEVER, Decoding(max_new_tokens=12))
    stop = free[0][4]
    written = generate(model, prompts, frozenset({stop}), Decoding(max_new_tokens=12))
    assert written == [by_transformers(model, prompt, stop, count=12) for prompt in prompts]
    assert len(written[0]) <= 4 < max(map(len, written))


def test_any_of_several_stop_tokens_ends_a_row(model_of, prompts):
    model = model_of("llama")
    first = generate(model, prompts, NEVER, Decoding(max_new_tokens=1))
    stops = frozenset(tokens[0] for tokens in first)
    assert generate(model, prompts, stops, Decoding(max_new_tokens=12)) == [[], [], [], []]


@pytest.mark.parametrize("count", [1, 5])
def test_no_more_than_max_new_tokens(model_of, prompts, count: int):
    written = generate(model_of("llama"), prompts, NEVER, Decoding(max_new_tokens=count))
    assert list(map(len, written)) == [count] * 4


def test_answers_come_in_the_order_of_the_prompts_over_several_batches(model_of, prompts, monkeypatch):
    monkeypatch.setattr(generate_module, "BATCH", 3)
    model = model_of("llama")
    written = generate(model, prompts, NEVER, Decoding(max_new_tokens=6))
    assert written == [generate(model, [prompt], NEVER, Decoding(max_new_tokens=6))[0] for prompt in prompts]
    assert len({tuple(tokens) for tokens in written}) == 4


def test_temperature_near_zero_is_greedy(model_of, prompts):
    model = model_of("llama")
    greedy = generate(model, prompts, NEVER, Decoding(max_new_tokens=8))
    assert generate(model, prompts, NEVER, Decoding(temperature=1e-6, max_new_tokens=8)) == greedy
