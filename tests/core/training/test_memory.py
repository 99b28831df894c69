"""Out of memory in a training: half the rows at a time, the same step, the same batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from stepladder.core.errors import OutOfMemory
from stepladder.core.method import Data, Trainable
from stepladder.core.model.base import Base
from stepladder.core.training.context import FitContext
from stepladder.core.training.limits import is_out_of_memory
from stepladder.plugins.methods.lora import Lora

SETTINGS = {"epochs": 1, "batch_size": 16, "learning_rate": 0.02, "rank": 2}
ERRORS = {
    "accelerator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "torch on a CPU": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    ),
    "python": MemoryError(),
}


class Narrow(Lora):
    """LoRA on a device that holds so many rows at a time, and breaks down in the middle of them."""

    room = 5
    error: Exception = ERRORS["accelerator"]
    refused = 0

    def start(self, base: Base, data: Data) -> Trainable:
        return replace(super().start(base, data), loss=self.loss)

    def loss(self, base: Base, rows: Any) -> Iterator[tuple[torch.Tensor, int]]:
        for place, row in enumerate(rows):
            if place == self.room:
                self.refused += 1
                raise self.error
            yield from base.engine.losses([row])


def fitted(method: Narrow, base: Base, data: Data, folder: Any) -> tuple[Any, FitContext, Any]:
    folder.mkdir()
    context = FitContext(folder)
    adapted = method.fit(base, data, context)
    return (
        adapted.report,
        context,
        {name: p.detach().clone() for name, p in adapted.trainable.parameters.items()},
    )


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_the_micro_batch_is_halved_and_the_weights_are_those_of_the_whole_batch(
    load, toy, tmp_path, error, capsys
):
    wide, narrow = Narrow(Narrow.Settings(**SETTINGS)), Narrow(Narrow.Settings(**SETTINGS))
    wide.room, narrow.error = 99, error
    report, context, expected = fitted(wide, load(), toy, tmp_path / "wide")
    assert (report.micro_batch_size, report.halvings, context.notes) == (16, 0, {})
    report, context, weights = fitted(narrow, load(), toy, tmp_path / "narrow")
    assert (report.micro_batch_size, report.halvings) == (4, 2)
    assert context.notes == {"micro_batch_size": 4, "halvings": 2}
    assert narrow.refused == 2, "what is too much once is not tried again"
    for name, weight in expected.items():
        assert torch.allclose(weights[name], weight, rtol=1e-3, atol=1e-5), name
    assert "out of memory at 16 rows a backward pass: 8 from here on" in capsys.readouterr().out


def test_one_row_that_is_too_much_is_told_with_its_length(base, toy, tmp_path):
    method = Narrow(Narrow.Settings(**SETTINGS))
    method.room = 0
    lengths = [len(toy.validation.encoded(index).tokens) for index in range(len(toy.validation))]
    with pytest.raises(
        OutOfMemory, match=rf"\(the longest here has {max(lengths)} tokens\): lower max_length"
    ):
        method.fit(base, toy, FitContext(tmp_path))


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
