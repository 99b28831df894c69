"""Pretraining: what of a text is trained, random starts, and a perplexity on held-out text that falls."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from stepladder.core.method import Data
from stepladder.core.model.base import Base
from stepladder.core.model.worded import Worded
from stepladder.core.training.context import FitContext
from stepladder.core.types import Encoded, Example
from stepladder.plugins.methods.pretrain import Pretrain, random_weights
from stepladder.plugins.tasks.text import Text

ROOT = os.environ.get("STEPLADDER_TEST_DATA")
FEW = {"epochs": 4, "batch_size": 8, "micro_batch_size": 8}


def pretrain(**settings: Any) -> Pretrain:
    return Pretrain(Pretrain.Settings(**settings))


def texts(base: Base, toy: Data, train: list[str], validation: list[str]) -> Data:
    """Texts as rows of the task `text`."""

    def split(written: list[str]) -> Any:
        examples = [Example(f"text-{place}", text, text) for place, text in enumerate(written)]
        encoded = [row for row in base.renderer.texts(written) if isinstance(row, Encoded)]
        return type(toy.train)(examples, encoded)

    return Data(Text(), "", (), split(train), split(validation))


def toy_texts(base: Base, toy: Data) -> Data:
    written = [f"{row.input} , {row.expected} ." for row in toy.train.examples()]
    return texts(base, toy, written[:40], written[40:])


def perplexity(adapted: Any, data: Data) -> float:
    said = adapted.predict(data.validation.examples())
    total = sum(each.negative_log_likelihood for each in said)
    return math.exp(total / sum(each.tokens for each in said))


@pytest.mark.parametrize("start, rate", [("base", 5e-3), ("random", 1e-2)])
def test_held_out_text_is_predicted_better(load, toy, tmp_path, start: str, rate: float):
    base = load()
    data = toy_texts(base, toy)
    method = pretrain(**FEW, start=start, learning_rate=rate)
    adapted = method.fit(base, data, FitContext(tmp_path))
    untouched = perplexity(Worded(load(), adapted.wording.schema, adapted.prompt, method), data)
    assert untouched > 50
    assert perplexity(adapted, data) < untouched / 4


def test_every_token_is_trained_but_the_first_and_so_is_the_end(base, toy, tmp_path):
    data = texts(base, toy, ["the sky is blue", "the car"], ["the sea"])
    rows = [data.train.encoded(0), data.train.encoded(1)]
    assert [row.trained for row in rows] == [[False, True, True, True, True], [False, True, True]]
    assert {row.tokens[-1] for row in rows} == {base.renderer.tokenizer.eos_token_id}
    report = pretrain(epochs=2, batch_size=2).fit(base, data, FitContext(tmp_path)).report
    assert report is not None and report.trained_tokens == 2 * (4 + 2)


def test_no_text_sees_another(base, toy):
    """Packed together, texts have the losses that each has alone."""
    data = toy_texts(base, toy)
    rows = [data.train.encoded(index) for index in range(6)]
    together = base.engine.log_probabilities(rows)
    for row, values in zip(rows, together, strict=True):
        assert values == pytest.approx(base.engine.log_probabilities([row])[0], abs=1e-5)


def test_a_random_start_is_the_seeds_and_has_nothing_of_the_base(load, toy):
    def start(seed: int) -> dict[str, torch.Tensor]:
        return dict(pretrain(start="random", seed=seed).start(load(), toy).parameters)

    first, again, other = start(7), start(7), start(8)
    own = dict(load().model.named_parameters())
    assert first.keys() == own.keys()
    drawn = [name for name, weight in own.items() if weight.ndim == 2]
    assert len(drawn) > 20
    for name in drawn:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])
        spread = first[name].std() / 0.15  # the architecture's own spread, which is in its config
        assert 0.9 < float(spread.detach()) < 1.1
        assert abs(torch.corrcoef(torch.stack([first[name].flatten(), own[name].flatten()]))[0, 1]) < 0.2


def test_drawing_weights_leaves_the_global_generator_alone(base):
    state = torch.random.get_rng_state()
    random_weights(base.model, 3)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.skipif(ROOT is None, reason="STEPLADDER_TEST_DATA is not set")
def test_shakespeare_from_random_weights(load, toy, tmp_path):
    """Of a tokenizer that knows few of the words: the perplexity falls far below that of the start."""
    base = load()
    rows = (Path(ROOT or "") / "tinyshakespeare" / "train.jsonl").read_text().splitlines()[:200]
    written = [json.loads(row)["text"][:400] for row in rows]
    data = texts(base, toy, written[:160], written[160:])
    adapted = pretrain(epochs=1, start="random", learning_rate=1e-2).fit(base, data, FitContext(tmp_path))
    assert perplexity(adapted, data) < 0.2 * len(base.renderer.tokenizer)
