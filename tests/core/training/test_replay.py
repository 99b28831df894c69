"""What is replayed beside a batch: which tokens, how many, and what they do to a step, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from stepladder.core.method import Trainable, TrainingSettings
from stepladder.core.model.base import Base
from stepladder.core.model.headed import Headed
from stepladder.core.model.writing import write_texts
from stepladder.core.training.batch import train_step
from stepladder.core.training.context import FitContext
from stepladder.core.training.course import Observer
from stepladder.core.training.loop import train
from stepladder.core.training.memory import MicroBatch
from stepladder.core.training.replay import Replay, ReplayText, load_rows, pieces, save_rows
from stepladder.core.types import Encoded
from stepladder.plugins.methods.full import Full
from stepladder.plugins.methods.lora import Lora
from stepladder.plugins.methods.soft_prompt import SoftPrompt


def text(*tokens: int, given: int = 1) -> Encoded:
    return Encoded(list(tokens), [place >= given for place in range(len(tokens))])


def trained(rows: Sequence[Encoded]) -> list[int]:
    return [token for row in rows for token, counts in zip(row.tokens, row.trained, strict=True) if counts]


# --- the stream ---


def test_a_row_is_cut_to_the_token_and_gone_on_with():
    replay = Replay([text(10, 11, 12, 13, 14, 15)], share=0.25, seed=0)
    assert replay.beside(6) == [text(10, 11, 12)]
    assert replay.beside(3) == [text(10, 11, 12, 13, given=3)]
    assert replay.beside(9) == [text(10, 11, 12, 13, 14, 15, given=4), text(10, 11)], "and from the beginning"


def test_what_is_only_given_is_never_trained():
    replay = Replay([text(1, 2, 3, 4, given=2)], share=0.5, seed=0)
    assert [trained(replay.beside(1)) for _ in range(4)] == [[3], [4], [3], [4]]


@pytest.mark.parametrize(
    "share, batches, expected",
    [
        (0.1, [90, 90, 90], [10, 10, 10]),
        (0.1, [13, 13, 13, 13, 13, 13, 13, 13, 13], [1, 2, 1, 2, 1, 2, 1, 2, 1]),
        (0.1, [4, 4, 4, 4, 2], [0, 1, 0, 1, 0]),
        (0.5, [7, 1], [7, 1]),
        (0.75, [3], [9]),
    ],
)
def test_the_share_of_all_trained_tokens_is_kept(share: float, batches: list[int], expected: list[int]):
    replay = Replay([text(*range(50))], share, seed=0)
    counts = [len(trained(replay.beside(tokens))) for tokens in batches]
    assert counts == expected
    exact = Fraction(str(share)) / (1 - Fraction(str(share))) * sum(batches)
    assert abs(sum(counts) - exact) <= Fraction(1, 2)


def test_every_token_comes_once_before_any_comes_again_in_the_seeds_order():
    rows = [text(place, place + 1, place + 2) for place in range(0, 60, 3)]

    def order(seed: int) -> list[int]:
        return trained(Replay(rows, 0.5, seed).beside(80))

    once = [token for token in range(60) if token % 3]
    assert sorted(order(1)[:40]) == sorted(order(1)[40:]) == once
    assert order(1) == order(1) != order(2)
    assert order(1)[:40] != order(1)[40:]


def test_a_long_text_is_cut_so_that_every_token_stays_in_one_piece():
    long = text(1, 2, 3, 4, 5, 6)
    assert list(pieces(long, 3)) == [text(1, 2, 3), text(3, 4, 5), text(5, 6)]
    assert list(pieces(long, 6)) == list(pieces(long, 9)) == [long]
    assert list(pieces(text(1, 2, 3, 4, given=3), 3)) == [text(3, 4)]
    assert list(pieces(text(1), 3)) == []


def test_rows_are_cut_to_the_room_that_is_left(tmp_path):
    replay = ReplayText([text(1, 2, 3, 4), text(5, 6, 7, given=2)], 0.5).stream(seed=0, room=2)
    assert replay.beside(2) == [text(1, 2), text(1, 2)]


def test_rows_are_saved_as_they_are(tmp_path):
    rows = [text(1, 2, 3), text(4, 5, 6, given=2)]
    save_rows(tmp_path / "rows.jsonl", rows)
    assert load_rows(tmp_path / "rows.jsonl") == rows


# --- in a step ---


@pytest.fixture
def double(base: Base) -> Base:
    base.model.double()
    return base


def task_rows() -> list[Encoded]:
    return [text(20, 21, 22, 23, given=2), text(30, 31, 32, 33, 34, given=1), text(20, 21, 25, given=2)]


REPLAYED = [text(40, 41, 42, 43, 44), text(50, 51, 52, 53)]


def gradients(base: Base, trainable: Trainable, rows: list[Encoded]) -> dict[str, torch.Tensor]:
    """By SGD at rate 1 and without clipping a step is the negative gradient."""
    before = {name: p.detach().clone() for name, p in trainable.parameters.items()}
    optimizer = torch.optim.SGD(list(trainable.parameters.values()), lr=1.0)
    train_step(base, trainable, rows, TrainingSettings(max_grad_norm=1e9), optimizer, MicroBatch(16))
    return {name: before[name] - p.detach() for name, p in trainable.parameters.items()}


def test_a_step_is_that_of_the_mean_over_rows_and_text_together(load):
    bases = load(), load()
    for each in bases:
        each.model.double()
    found, expected = (
        gradients(
            bases[0], replace(full().attach(bases[0].model), replay=Replay(REPLAYED, 0.4, 0)), task_rows()
        ),
        gradients(bases[1], full().attach(bases[1].model), [*task_rows(), *_first(REPLAYED)]),
    )
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-7, rtol=1e-5), name


def _first(rows: list[Encoded]) -> list[Encoded]:
    """Seven trained tokens need two thirds as many of text at a share of 0.4: 4.67, so 5."""
    return Replay(rows, 0.5, 0).beside(5)


def full(**given: Any) -> Full:
    return Full(Full.Settings(**given))


def test_losses_and_tokens_are_told_apart(double):
    trainable = replace(full().attach(double.model), replay=Replay(REPLAYED, 0.4, 0))
    curves: list[dict[str, float]] = []
    settings = TrainingSettings(epochs=2, batch_size=3, warmup_share=0, learning_rate=1e-12)
    report = train(double, trainable, task_rows(), [], settings, Observer(lambda **each: curves.append(each)))
    assert (report.trained_tokens, report.replay_tokens) == (14, 9)  # 2 x 7, and 2 x 4.67 rounded
    alone = double.engine.log_probabilities(task_rows())
    assert curves[0]["loss"] == report.first_loss
    assert report.first_loss == pytest.approx(-sum(map(sum, alone)) / 7, rel=1e-6)
    shown = double.engine.log_probabilities(_first(REPLAYED))
    assert curves[0]["replay_loss"] == pytest.approx(-sum(map(sum, shown)) / 5, rel=1e-6)


# --- in a fit ---


def fit(method: Any, base: Base, data: Any, folder: Any, share: float | None) -> Any:
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(13, 97, (20, 24), generator=generator).tolist()
    replay = None if share is None else ReplayText([text(*row) for row in tokens], share)
    return method.fit(base, data, FitContext(folder, replay))


FEW = {"epochs": 1, "batch_size": 16}


@pytest.mark.parametrize("kind", [Full, Lora, SoftPrompt])
def test_every_gradient_method_mixes_it_in(kind: Any, load, toy, tmp_path):
    with_it, without = (
        fit(kind(kind.Settings(**FEW)), load(), toy, tmp_path, share) for share in (0.2, None)
    )
    reports = with_it.report, without.report
    assert [each.trained_tokens for each in reports] == [reports[0].trained_tokens] * 2
    assert reports[1].replay_tokens == 0
    assert reports[0].replay_tokens == pytest.approx(reports[0].trained_tokens / 4, abs=0.5)


@pytest.mark.parametrize("alone", [0, 2])
def test_the_old_head_is_kept_and_trained_while_a_new_one_learns(alone: int, load, toy, tmp_path):
    given = {**FEW, "batch_size": 48, "learning_rate": 5e-3, "warmup_head_epochs": alone}
    base, old = load(), load()
    adapted = fit(full(head="linear", **given), base, toy, tmp_path, 0.2)
    assert isinstance(adapted, Headed) and adapted.report is not None
    read = sum(len(tokens) for tokens in base.read(toy.train.examples(), toy.instruction))
    assert adapted.report.replay_tokens == round(read / 4), (
        "tokens count as they are read; the warm-up has none"
    )
    moved = (base.model.lm_head.weight - old.model.lm_head.weight).abs().max()
    assert float(moved.detach()) > 1e-3, "the language head is trained"
    assert {each.predicted for each in adapted.predict(toy.validation.examples())} <= set(toy.labels)


def test_adapters_below_a_new_head_are_taught_by_the_old_one_too(load, toy, tmp_path):
    base, rows = load(), toy.train.examples()
    settings = {**FEW, "head": "linear", "learning_rate": 1e-2}
    beside, alone = (
        fit(Lora(Lora.Settings(**settings)), each, toy, tmp_path, share)
        for each, share in ((base, 0.2), (load(), None))
    )
    assert isinstance(beside, Headed)
    assert beside.report.replay_tokens == round(sum(map(len, base.read(rows, toy.instruction))) / 4)
    learned = [each.trunk.parameters for each in (beside, alone)]
    assert not any(torch.equal(learned[0][name], learned[1][name]) for name in learned[1] if "lora_B" in name)


def test_text_is_forgotten_less_where_such_text_is_replayed(load, toy, tmp_path):
    """Text that the base itself writes, of which its perplexity rises while a new head is trained."""
    written = write_texts(load(), 192, 24, seed=3)
    shown, held_out = written[:128], written[128:]

    def perplexity(base: Base) -> float:
        values = [value for row in base.engine.log_probabilities(held_out) for value in row]
        return math.exp(-sum(values) / len(values))

    def rise(replay: ReplayText | None) -> float:
        base = load()
        before = perplexity(base)
        method = full(head="linear", epochs=4, batch_size=16, learning_rate=6e-3)
        method.fit(base, toy, FitContext(tmp_path, replay))
        return perplexity(base) / before - 1

    alone, beside = rise(None), rise(ReplayText(shown, 0.3))
    assert alone > 0.3
    assert beside < 0.7 * alone
