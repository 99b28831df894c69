"""Several processes, forked here, that train one candidate together: the figures of one process alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from stepladder.core.errors import StepError
from stepladder.core.method import Trainable, TrainingSettings
from stepladder.core.model.whole import attach_whole
from stepladder.core.training import together
from stepladder.core.training.checkpoint import Keeping
from stepladder.core.training.context import FitContext
from stepladder.core.training.failures import ProcessFailed
from stepladder.core.training.launch import launch
from stepladder.core.training.replay import ReplayText
from stepladder.core.types import Encoded
from stepladder.plugins.methods.lora import Lora

SETTINGS = {"epochs": 2, "batch_size": 7, "learning_rate": 0.02, "warmup_share": 0.2, "weight_decay": 0.1}
STEPS = 14  # of 48 rows, the last batch of an epoch with 6
NEAR = {"rel": 1e-5, "abs": 1e-5}


@pytest.fixture(autouse=True)
def one_thread():
    """A process that has computed on several threads cannot be forked."""
    torch.set_num_threads(1)


def replayed() -> ReplayText:
    rows = [Encoded(list(range(20 + n, 40 + n)), [False] + [True] * 19) for n in range(5)]
    return ReplayText(rows, share=0.25)


class Ends(FitContext):
    """Kills the second process once it has told of a step."""

    def __init__(self, *given: Any, end_at: int, **named: Any) -> None:
        super().__init__(*given, **named)
        self.end_at = end_at

    def progress(self, **figures: float) -> None:
        super().progress(**figures)
        if figures["step"] == self.end_at and together.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def train(load, toy, tmp_path) -> Callable[..., Any]:
    """Trains the tiny base in so many processes: what was said of it, the curves, and the weights."""
    rows, held_out = ([split.encoded(i) for i in range(len(split))] for split in (toy.train, toy.validation))

    def run(
        number: int,
        name: str,
        end_at: int = 0,
        attach: Callable[[Any], Trainable] = lambda model: Lora(Lora.Settings(rank=2)).attach(model),
        shard: bool = False,
        **given: Any,
    ) -> tuple[dict[str, Any], list[dict[str, float]], dict[str, torch.Tensor]]:
        def work(folder: Path) -> dict[str, Any]:
            (folder / f"{together.rank()}.pid").write_text(str(os.getpid()))
            base = load()
            trainable = attach(base.model)
            keeping = Keeping(tmp_path / "kept", "f" * 64, every=3) if "kept" in name else None
            context = Ends(folder, replayed(), keeping=keeping, shard=shard, end_at=end_at)
            report = context.train(base, trainable, rows, held_out, TrainingSettings(**SETTINGS | given))
            weights = {name: p.detach().clone() for name, p in trainable.parameters.items()}
            save_file(weights, folder / "weights.safetensors")
            return {"report": asdict(report), "notes": context.notes}

        folder = tmp_path / name
        folder.mkdir()
        alone = number == 1 and not shard
        said = work(folder) if alone else launch(number, work, folder, tmp_path / "scratch")
        curves = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
        return said, curves, load_file(folder / "weights.safetensors")

    return run


def assert_alike(found: Any, expected: Any) -> None:
    """Losses to rounding, counts exactly."""
    (said, curves, weights), (said_alone, curves_alone, weights_alone) = found, expected
    for point, alone in zip(curves, curves_alone, strict=True):
        timed = ("tokens_per_second", "seconds_left")
        assert {k: v for k, v in point.items() if k not in timed} == pytest.approx(
            {k: v for k, v in alone.items() if k not in timed}, **NEAR
        )
    for figure in ("steps", "trained_tokens", "replay_tokens", "best_step"):
        assert said["report"][figure] == said_alone["report"][figure], figure
    for name, weight in weights_alone.items():
        assert torch.allclose(weights[name], weight, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("number", [2, 4])
def test_the_curves_and_the_weights_are_those_of_one_process(train, number):
    found = train(number, "together")
    assert_alike(found, train(1, "alone"))
    assert found[0]["notes"] == {"processes": number}


def test_a_killed_process_ends_all_and_another_number_of_them_goes_on(train, tmp_path):
    alone = train(1, "alone")
    with pytest.raises(ProcessFailed, match="process 2 of 2 was killed by SIGKILL"):
        train(2, "kept-killed", end_at=8)
    assert not psutil.pid_exists(int((tmp_path / "kept-killed" / "0.pid").read_text()))
    assert not (tmp_path / "scratch" / "processes").exists()
    found = train(3, "kept-on")
    assert found[0]["report"]["resumed_from_step"] == 6
    assert_alike(found, alone)


WHOLE = {"attach": attach_whole, "learning_rate": 0.002, "micro_batch_size": 2}


def test_shards_give_the_figures_of_the_whole(train):
    alone = train(1, "alone", **WHOLE)
    for number in (1, 2):
        found = train(number, f"sharded-{number}", shard=True, **WHOLE)
        assert found[0]["notes"]["sharded"]
        assert_alike(found, alone)


def test_what_was_trained_in_shards_goes_on_in_others_and_without(train):
    alone = train(1, "alone", **WHOLE)
    with pytest.raises(ProcessFailed, match="killed"):
        train(2, "kept-killed", end_at=5, shard=True, **WHOLE)
    with pytest.raises(ProcessFailed, match="killed"):
        train(3, "kept-again", end_at=11, shard=True, **WHOLE)
    found = train(1, "kept-on", **WHOLE)
    assert found[0]["report"]["resumed_from_step"] == 9
    assert_alike(found, alone)


def test_where_one_has_too_little_memory_all_take_smaller_parts(train):
    def loss(base: Any, rows: Any) -> Any:
        if together.rank() == 1 and len(rows) > 2:
            raise MemoryError
        return base.engine.losses(rows)

    def attach(model: Any) -> Trainable:
        return replace(Lora(Lora.Settings(rank=2)).attach(model), loss=loss)

    found = train(2, "together", attach=attach)
    assert (found[0]["report"]["halvings"], found[0]["report"]["micro_batch_size"]) == (2, 2)
    assert_alike(found, train(1, "alone", attach=attach))


def test_what_one_process_raises_is_what_the_step_says(tmp_path):
    def work(folder: Path) -> dict[str, Any]:
        if together.rank() == 1:
            raise StepError("no row is left")
        return {"total": together.total(1.0)}  # waits for the other one, in vain

    with pytest.raises(ProcessFailed, match=r"^no row is left$"):
        launch(2, work, tmp_path, tmp_path / "scratch")


def test_they_end_with_the_process_that_started_them(tmp_path):
    def work(folder: Path) -> dict[str, Any]:
        (tmp_path / f"{together.rank()}.new").write_text(str(os.getpid()))
        (tmp_path / f"{together.rank()}.new").rename(tmp_path / f"{together.rank()}.pid")
        threading.Event().wait()
        return {}

    step = multiprocessing.get_context("fork").Process(
        target=launch, args=(3, work, tmp_path / "fit", tmp_path / "scratch")
    )
    step.start()
    while len(files := list(tmp_path.glob("*.pid"))) < 3:
        assert not step.join(0.05) and step.is_alive()
    processes = [psutil.Process(int(file.read_text())) for file in files]
    step.kill()
    step.join()
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def test_rows_are_dealt_so_that_all_have_as_many_tokens(tmp_path):
    rows = [Encoded([0] * length, [True] * length) for length in (9, 1, 7, 3, 8, 2, 4)]

    def work(folder: Path) -> dict[str, Any]:
        own = [len(row.tokens) for row in together.share(rows)]
        (tmp_path / f"rank-{together.rank()}").write_text(json.dumps(own))
        return {"most": together.largest_share(7), "first": together.of_first(5 + together.rank())}

    assert launch(2, work, tmp_path, tmp_path / "scratch") == {"most": 4, "first": 5}
    assert [json.loads((tmp_path / f"rank-{n}").read_text()) for n in (0, 1)] == [[9, 4, 3], [8, 7, 2, 1]]
