"""Writing: next-token distributions by hand, and the loop against transformers' own greedy decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stepladder.core.model import generate as generate_module
from stepladder.core.model.engine import PlainEngine
from stepladder.core.model.generate import Continuation, Decoding, generate, next_token_probabilities
from stepladder.core.types import Encoded
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


def first_of(*asked: Any) -> list[list[int]]:
    """The tokens of the first continuation of each prompt."""
    return [continuations[0].tokens for continuations in generate(*asked)]


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
    drawn = first_of(Fixed(), [[0]] * 20_000, NEVER, Decoding(temperature=1.0, max_new_tokens=1, seed=3))
    counts = torch.tensor(drawn)[:, 0].bincount(minlength=3)
    assert (counts / 20_000).tolist() == pytest.approx([0.629, 0.231, 0.140], abs=0.012)


def test_a_seed_fixes_the_draws_and_another_changes_them():
    def draw(seed: int) -> list[list[int]]:
        return first_of(
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
    written = first_of(model, prompts, NEVER, Decoding(max_new_tokens=12))
    assert written == [by_transformers(model, prompt, stop=96, count=12) for prompt in prompts]


def test_a_stop_token_ends_its_row_alone_and_is_left_out(model_of, prompts):
    model = model_of("llama")
    free = first_of(model, prompts, NEVER, Decoding(max_new_tokens=12))
    stop = free[0][4]
    written = first_of(model, prompts, frozenset({stop}), Decoding(max_new_tokens=12))
    assert written == [by_transformers(model, prompt, stop, count=12) for prompt in prompts]
    assert len(written[0]) <= 4 < max(map(len, written))


def test_any_of_several_stop_tokens_ends_a_row(model_of, prompts):
    model = model_of("llama")
    first = first_of(model, prompts, NEVER, Decoding(max_new_tokens=1))
    stops = frozenset(tokens[0] for tokens in first)
    assert first_of(model, prompts, stops, Decoding(max_new_tokens=12)) == [[], [], [], []]


@pytest.mark.parametrize("count", [1, 5])
def test_no_more_than_max_new_tokens(model_of, prompts, count: int):
    written = first_of(model_of("llama"), prompts, NEVER, Decoding(max_new_tokens=count))
    assert list(map(len, written)) == [count] * 4


def test_answers_come_in_the_order_of_the_prompts_over_several_batches(model_of, prompts, monkeypatch):
    monkeypatch.setattr(generate_module, "BATCH", 3)
    model = model_of("llama")
    written = first_of(model, prompts, NEVER, Decoding(max_new_tokens=6))
    assert written == [first_of(model, [prompt], NEVER, Decoding(max_new_tokens=6))[0] for prompt in prompts]
    assert len({tuple(tokens) for tokens in written}) == 4


def test_temperature_near_zero_is_greedy(model_of, prompts):
    model = model_of("llama")
    greedy = first_of(model, prompts, NEVER, Decoding(max_new_tokens=8))
    assert first_of(model, prompts, NEVER, Decoding(temperature=1e-6, max_new_tokens=8)) == greedy


# --- several continuations, and how likely they are ---

FAMILIES = ["llama", "gpt2", "gemma2_capped", "granite", "mistral", "gemma3", "qwen2_sliding"]


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_unshared_forward(model_of, prompts, family: str):
    model = model_of(family).float()
    stop = first_of(model, prompts, NEVER, Decoding(max_new_tokens=4))[0][3]
    decoding = Decoding(temperature=1.3, top_k=40, max_new_tokens=9, seed=2, count=3)
    drawn = generate(model, prompts, frozenset({stop}), decoding)
    rows, said = [], []
    for prompt, continuations in zip(prompts, drawn, strict=True):
        assert len(continuations) == 3
        for each in continuations:
            written = each.tokens + [stop] * each.ended
            assert len(each.log_probabilities) == len(written)
            rows.append(Encoded(prompt + written, [False] * len(prompt) + [True] * len(written)))
            said.append(each.log_probabilities)
    oracle = PlainEngine(model, max_tokens=0).log_probabilities(rows)
    for one, other in zip(said, oracle, strict=True):
        assert one == pytest.approx(other, abs=2e-4)
    assert {each.ended for continuations in drawn for each in continuations} == {True, False}


@pytest.mark.parametrize("family", ["mamba", *FAMILIES])
def test_all_greedy_continuations_of_a_prompt_are_the_one(model_of, prompts, family: str):
    model = model_of(family).float()
    prompts = prompts[:1] if family == "mamba" else prompts  # its state reads the padding too
    one = first_of(model, prompts, NEVER, Decoding(max_new_tokens=6))
    drawn = generate(model, prompts, NEVER, Decoding(max_new_tokens=6, count=3))
    assert [[each.tokens for each in row] for row in drawn] == [[tokens] * 3 for tokens in one]


def test_continuations_of_one_prompt_are_drawn_apart(model_of, prompts):
    decoding = Decoding(temperature=1.0, max_new_tokens=8, count=5)
    for row in generate(model_of("llama"), prompts, NEVER, decoding):
        assert len({tuple(each.tokens) for each in row}) == 5


def test_a_prompt_is_read_once_for_all_its_continuations(model_of, prompts):
    model, read = model_of("llama"), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    generate(model, prompts[:1], NEVER, Decoding(temperature=1.0, max_new_tokens=3, count=8))
    assert read == [(1, len(prompts[0])), (8, 1), (8, 1)]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "mistral"])
def test_a_shared_beginning_is_read_once_and_changes_nothing(model_of, prompts, family: str):
    model = model_of(family)
    begun = [[5, 6, 7, 8, *prompt] for prompt in prompts] + [[5, 6, 7, 8]]
    decoding = Decoding(max_new_tokens=7, count=2)
    alone, shared = (generate(model, begun, NEVER, decoding, shared) for shared in (False, True))
    for one, other in zip(alone, shared, strict=True):
        assert [each.tokens for each in one] == [each.tokens for each in other]
        for each, its_other in zip(one, other, strict=True):
            assert each.log_probabilities == pytest.approx(its_other.log_probabilities, abs=1e-6)


def test_equal_prompts_leave_one_token_to_each(model_of, prompts):
    model, read = model_of("llama"), []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    generate(model, [prompts[0]] * 3, NEVER, Decoding(max_new_tokens=1), shared=True)
    assert read == [(1, len(prompts[0]) - 1), (3, 1)]


def test_rows_that_have_ended_are_read_no_more(model_of, prompts):
    model, read = model_of("llama"), []
    free = first_of(model, prompts, NEVER, Decoding(max_new_tokens=6))
    model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    stop = free[0][1]
    drawn = generate(model, prompts, frozenset({stop}), Decoding(max_new_tokens=6))
    lengths = [len(row[0].log_probabilities) for row in drawn]
    assert read == [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert drawn[0][0] == Continuation(free[0][:1], drawn[0][0].log_probabilities, ended=True)
