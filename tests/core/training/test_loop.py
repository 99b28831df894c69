"""The training loop in float64 on a tiny GPT-2, whose every operation is exact to rounding."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from stepladder.core.errors import StepError
from stepladder.core.method import Trainable, TrainingSettings
from stepladder.core.model.base import Base
from stepladder.core.model.engine import TreeEngine
from stepladder.core.model.layers import replace_modules
from stepladder.core.model.locate import BaseRef
from stepladder.core.training.batch import accumulate, summed_loss, train_step
from stepladder.core.training.context import FitContext
from stepladder.core.training.loop import (
    Observer,
    learning_rate_factor,
    plan_batches,
    train,
)
from stepladder.core.training.memory import MicroBatch
from stepladder.core.types import Encoded
from stepladder.plugins.methods.lora import Lora, LoraLinear
from transformers import GPT2Config, GPT2LMHeadModel

VOCABULARY = 97


@pytest.fixture
def base() -> Base:
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=64,
        initializer_range=0.12,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(1)
    model: Any = GPT2LMHeadModel(config).double().eval().requires_grad_(False)
    return Base(BaseRef("tiny", "", ""), model, None, TreeEngine(model, max_tokens=120))  # type: ignore[arg-type]


def attach(base: Base) -> Trainable:
    """LoRA whose update is not zero, so that both of its factors have a gradient."""
    trainable = Lora(Lora.Settings(rank=2)).attach(base.model)
    generator = torch.Generator().manual_seed(2)
    for parameter in trainable.parameters.values():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = parameter.data.double() + 0.1 * noise
    return trainable


def random_rows(count: int, seed: int, answer: range = range(1, 15)) -> list[Encoded]:
    """Rows of 4 to 20 tokens, of which from 1 to 14 are trained."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    rows = []
    for _ in range(count):
        trained = draw(answer.start, answer.stop)
        before = draw(3, 7)
        tokens = torch.randint(3, VOCABULARY, (before + trained,), generator=generator).tolist()
        rows.append(Encoded(tokens, [False] * before + [True] * trained))
    return rows


def settings(**given: Any) -> TrainingSettings:
    return TrainingSettings(**({"epochs": 1, "batch_size": 32, "micro_batch_size": 32} | given))


def weights(trainable: Trainable) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainable.parameters.items()}


class Curves:
    """Keeps what the loop tells."""

    def __init__(self) -> None:
        self.points: list[dict[str, float]] = []

    def __call__(self, **figures: float) -> None:
        self.points.append(figures)

    def of(self, figure: str) -> list[float]:
        return [point[figure] for point in self.points if figure in point]


def run(
    base: Base, trainable: Trainable, rows: Any, validation: Any = (), **given: Any
) -> tuple[Any, Curves]:
    curves = Curves()
    return train(base, trainable, rows, validation, settings(**given), Observer(curves)), curves


# --- one step ---


@pytest.mark.parametrize("micro", [1, 8, 13])
def test_a_batch_cut_into_micro_batches_moves_the_weights_alike(base, micro: int):
    rows = random_rows(32, seed=3)
    assert len({sum(row.trained) for row in rows}) > 8, "token counts differ"
    ends = []
    for size in (32, micro):
        trainable = attach(base)
        run(base, trainable, rows, micro_batch_size=size)
        ends.append(weights(trainable))
        trainable.detach()
    for name, whole in ends[0].items():
        assert float((ends[1][name] - whole).abs().max()) <= 1e-12 * float(whole.abs().max()), name


def test_the_gradient_is_that_of_the_mean_over_all_trained_tokens(base):
    trainable, rows = attach(base), random_rows(6, seed=4)
    loss, count = accumulate(base, trainable, rows, micro_batch_size=4)
    found = {name: p.grad.clone() for name, p in trainable.parameters.items()}
    base.model.zero_grad()
    nll = [
        torch.nn.functional.cross_entropy(
            base.model(input_ids=torch.tensor([row.tokens])).logits[0, :-1],
            torch.tensor([t if m else -100 for t, m in zip(row.tokens[1:], row.trained[1:], strict=True)]),
            reduction="sum",
        )
        for row in rows
    ]
    mean = sum(nll) / sum(sum(row.trained) for row in rows)
    mean.backward()
    assert count == sum(sum(row.trained) for row in rows)
    assert loss == pytest.approx(float(mean.detach()), rel=1e-12)
    for name, p in trainable.parameters.items():
        assert torch.allclose(found[name], p.grad, rtol=1e-9, atol=1e-12), name


def sgd(trainable: Trainable) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(trainable.parameters.values()), lr=1.0)


@pytest.mark.parametrize("norm", [0.01, 0.2])
def test_gradients_are_clipped_to_a_common_norm(base, norm: float):
    trainable, rows = attach(base), random_rows(8, seed=5)
    before = weights(trainable)
    train_step(base, trainable, rows, settings(max_grad_norm=norm), sgd(trainable), MicroBatch(32))
    moved = torch.cat([(trainable.parameters[name] - before[name]).flatten() for name in before])
    assert float(moved.norm().detach()) == pytest.approx(norm, rel=1e-4)


def test_gradients_below_the_norm_are_left_as_they_are(base):
    trainable, rows = attach(base), random_rows(8, seed=5)
    accumulate(base, trainable, rows, 8)
    expected = {name: p.detach() - p.grad for name, p in trainable.parameters.items()}
    base.model.zero_grad()
    train_step(base, trainable, rows, settings(max_grad_norm=1e6), sgd(trainable), MicroBatch(32))
    for name, parameter in trainable.parameters.items():
        assert torch.allclose(parameter, expected[name], rtol=1e-12, atol=0), name
        assert parameter.grad is None, "the next step starts from nothing"


def test_no_graph_is_kept_below_the_lowest_adapter(base):
    blocks = base.model.transformer.h
    layer = LoraLinear(blocks[2].attn.c_attn, 2, 1.0, torch.Generator().manual_seed(0))
    replace_modules(base.model, {"transformer.h.2.attn.c_attn": layer})
    trainable = Trainable({"a": layer.lora_a, "b": layer.lora_b}, detach=lambda: None)
    grows: dict[int, bool] = {}
    for place, block in enumerate(blocks):
        block.register_forward_hook(
            lambda _module, _inputs, output, place=place: grows.update(
                {place: (output[0] if isinstance(output, tuple) else output).requires_grad}
            )
        )
    accumulate(base, trainable, random_rows(4, seed=6), 4)
    assert grows == {0: False, 1: False, 2: True}
    assert trainable.parameters["b"].grad is not None
    assert all(p.grad is None for name, p in base.model.named_parameters() if "lora" not in name)


@pytest.mark.parametrize("poison", [math.inf, math.nan])
def test_a_loss_that_is_no_number_stops_with_the_setting_to_change(base, poison: float):
    trainable = attach(base)
    next(iter(trainable.parameters.values())).data.fill_(poison)
    with pytest.raises(StepError, match=r"the loss is (nan|inf): lower learning_rate \(now 0\.25\)"):
        run(base, trainable, random_rows(4, seed=7), learning_rate=0.25)


def test_a_method_may_bring_its_own_loss_and_its_own_rates(base):
    trainable = attach(base)
    names = list(trainable.parameters)
    still, moving = trainable.parameters[names[0]], trainable.parameters[names[1]]
    own = replace(
        trainable,
        loss=lambda base, rows: iter([(moving.pow(2).sum() + still.sum(), len(rows))]),
        groups=[{"params": [moving]}, {"params": [still], "lr": 0.0}],
    )
    before = weights(own)
    run(base, own, random_rows(8, seed=8), learning_rate=0.01, warmup_share=0)
    assert torch.equal(still, before[names[0]])
    moved = moving.detach() - before[names[1]]
    assert torch.allclose(moved, -0.01 * before[names[1]].sign(), rtol=1e-2), "Adam's first step is the rate"


# --- the plan ---


@pytest.mark.parametrize(
    "steps, share, expected",
    [
        (10, 0.2, [0.5, 1.0, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060]),
        (4, 0.0, [1.0, 0.853553, 0.5, 0.146447]),
        (5, 0.5, [1 / 3, 2 / 3, 1.0, 1.0, 0.5]),
        (1, 0.1, [1.0]),
    ],
)
def test_the_rate_rises_linearly_and_falls_as_a_cosine(steps: int, share: float, expected: list[float]):
    factor = learning_rate_factor(steps, share)
    assert [factor(step) for step in range(steps)] == pytest.approx(expected, abs=1e-6)


def test_each_step_is_taken_at_the_rate_that_is_told(base):
    _, curves = run(
        base, attach(base), random_rows(8, seed=9), batch_size=2, learning_rate=0.1, warmup_share=0.5
    )
    assert curves.of("step") == [1, 2, 3, 4]
    assert curves.of("learning_rate") == pytest.approx([0.05, 0.1, 0.1, 0.05])


@pytest.mark.parametrize(
    "epochs, sizes, ends",
    [
        (1, [2, 2, 1], {3}),
        (2, [2, 2, 1, 2, 2, 1], {3, 6}),
        (0.1, [2], {1}),
        (1.4, [2, 2, 1, 2], {3, 4}),
    ],
)
def test_every_epoch_takes_every_row_once(epochs: float, sizes: list[int], ends: set[int]):
    plan = plan_batches(5, settings(epochs=epochs, batch_size=2))
    assert list(map(len, plan.batches)) == sizes
    assert plan.epoch_ends == ends
    for start in range(0, len(sizes) - 2, 3):
        assert sorted(chain.from_iterable(plan.batches[start : start + 3])) == [0, 1, 2, 3, 4]


def test_the_order_is_the_seeds_and_new_each_epoch():
    def order(seed: int) -> list[list[int]]:
        return plan_batches(64, settings(epochs=2, batch_size=64, seed=seed)).batches

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[0] != order(1)[1]


def test_equal_seeds_give_bit_equal_weights(base):
    ends = []
    for _ in range(2):
        trainable = attach(base)
        run(base, trainable, random_rows(12, seed=10), batch_size=4, epochs=2)
        ends.append(weights(trainable))
        trainable.detach()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# --- validation ---


def opposed() -> tuple[list[Encoded], list[Encoded]]:
    """Training rows, and validation rows in which the same questions have other answers."""
    rows = random_rows(6, seed=11, answer=range(1, 2))
    others = [Encoded([*row.tokens[:-1], 3 + (row.tokens[-1] + 40) % 90], row.trained) for row in rows]
    return rows, others


def test_afterwards_the_weights_are_those_of_the_best_validation(base):
    rows, validation = opposed()
    trainable = attach(base)
    report, curves = run(base, trainable, rows, validation, epochs=6, learning_rate=0.05, batch_size=6)
    told = curves.of("validation_loss")
    assert len(told) == 6
    assert min(told) < told[-1] - 0.01, "the last weights are not the best"
    assert report.best_validation_loss == min(told)
    assert report.best_step == 1 + told.index(min(told))
    loss, tokens = summed_loss(base, trainable, validation)
    assert loss / tokens == pytest.approx(min(told), rel=1e-12)
    assert report.last_loss < report.first_loss


def test_patience_counts_validations_without_a_gain(base):
    rows, validation = opposed()
    report, curves = run(
        base, attach(base), rows, validation, epochs=20, learning_rate=0.05, batch_size=3, patience=2
    )
    told = curves.of("validation_loss")
    best = told.index(min(told))
    assert len(told) == best + 3 < 20
    assert report.steps == 2 * len(told)
    assert report.best_step == 2 * (best + 1)


def test_without_validation_rows_the_last_weights_stay(base):
    report, curves = run(base, attach(base), random_rows(8, seed=12), epochs=2, batch_size=4)
    assert (report.best_validation_loss, report.best_step, report.steps) == (None, 4, 4)
    assert curves.of("validation_loss") == []


# --- rows and figures ---


def test_rows_above_max_length_are_left_out(base):
    rows = random_rows(20, seed=13)
    kept = [row for row in rows if len(row.tokens) <= 10]
    assert 0 < len(kept) < 20
    report, _ = run(base, attach(base), rows, max_length=10)
    assert report.trained_tokens == sum(sum(row.trained) for row in kept)


def test_no_row_short_enough_is_an_error_that_names_the_setting(base):
    with pytest.raises(StepError, match=r"max_length=2.*raise max_length"):
        run(base, attach(base), random_rows(4, seed=14), max_length=2)


def test_the_report_counts(base):
    rows = random_rows(10, seed=15)
    report, curves = run(base, attach(base), rows, epochs=3, batch_size=4)
    losses = curves.of("loss")
    assert report.steps == len(losses) == 9
    assert report.trained_tokens == 3 * sum(sum(row.trained) for row in rows)
    assert (report.first_loss, report.last_loss) == (losses[0], losses[-1])
    assert curves.of("steps") == [9] * 9
    assert all(figure > 0 for figure in curves.of("tokens_per_second"))
    assert curves.of("seconds_left")[-1] == 0
    assert report.train_seconds > 0


def test_checkpointing_changes_no_weight(base):
    ends = []
    for recompute in (False, True):
        trainable = attach(base)
        run(base, trainable, random_rows(8, seed=16), gradient_checkpointing=recompute)
        ends.append(weights(trainable))
        trainable.detach()
    for name, kept in ends[0].items():
        assert torch.allclose(kept, ends[1][name], rtol=1e-9, atol=1e-12), name


def test_adapters_of_a_half_precision_base_are_trained_in_float32(base):
    base.model.bfloat16()
    trainable = Lora(Lora.Settings(rank=4)).attach(base.model)
    report, _ = run(base, trainable, random_rows(8, seed=17), epochs=10, batch_size=8, learning_rate=0.05)
    assert {parameter.dtype for parameter in trainable.parameters.values()} == {torch.float32}
    assert report.last_loss < report.first_loss - 0.1


def test_a_fit_keeps_its_curves_and_tells_of_validations(base, tmp_path, capsys):
    rows, validation = opposed()
    context = FitContext(tmp_path)
    report = context.train(base, attach(base), rows, validation, settings(epochs=2, batch_size=3))
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2, 3, 4, 4]
    assert lines[0]["loss"] == report.first_loss
    said = capsys.readouterr().out
    assert f"validation loss {lines[2]['validation_loss']:.4f}" in said
    assert "step 1/4: loss" in said
