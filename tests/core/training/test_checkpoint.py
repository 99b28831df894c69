"""Trainings that end in the middle, and go on: to the same bits, and from nothing that is broken."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stepladder.core.method import LoopSettings, Trainable, TrainingSettings
from stepladder.core.model.whole import attach_whole
from stepladder.core.training.checkpoint import Keeping, Pace
from stepladder.core.training.course import Observer
from stepladder.core.training.loop import train
from stepladder.core.training.replay import ReplayText
from stepladder.core.types import Encoded, TrainReport
from stepladder.plugins.methods.lora import Lora

SETTINGS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "warmup_share": 0.2, "weight_decay": 0.1}
STEPS = 18  # of 48 rows


class Killed(Exception):
    """Stands for a SIGKILL: nothing is written behind it."""


class Curves:
    """Keeps the points, and ends the training once it has told of a step."""

    def __init__(self, end_at: int | None = None) -> None:
        self.points: list[dict[str, float]] = []
        self.end_at = end_at

    def __call__(self, **figures: float) -> None:
        self.points.append(figures)
        if self.end_at == figures["step"]:
            raise Killed


@pytest.fixture
def trained(load, toy, tmp_path) -> Callable[..., Any]:
    """Trains the tiny base anew; returns the weights that it ends with, the report, curves and log."""

    def run(
        end_at: int | None = None,
        attach: Callable[[Any], Trainable] = lambda model: Lora(Lora.Settings(rank=2)).attach(model),
        keeping: Keeping | None = KEPT,
        text: ReplayText | None = None,
        **given: Any,
    ) -> tuple[dict[str, torch.Tensor], TrainReport | None, Curves, list[str]]:
        base, said, curves = load(), list[str](), Curves(end_at)
        settings = TrainingSettings(**{**SETTINGS, **given})
        trainable = attach(base.model)
        if text:
            trainable = replace(trainable, replay=text.stream(settings.seed, 64))
        if keeping:
            keeping = replace(keeping, folder=tmp_path / "kept")
        rows, held_out = (
            [split.encoded(i) for i in range(len(split))] for split in (toy.train, toy.validation)
        )
        try:
            report = train(base, trainable, rows, held_out, settings, Observer(curves, said.append, keeping))
        except Killed:
            report = None
        weights = {name: p.detach().clone() for name, p in trainable.parameters.items()}
        return weights, report, curves, said

    return run


KEPT = Keeping(Path(), "f" * 64, every=3)


def without_seconds(points: list[dict[str, float]]) -> list[dict[str, float]]:
    timed = ("tokens_per_second", "seconds_left")
    return [{name: value for name, value in point.items() if name not in timed} for point in points]


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def text() -> ReplayText:
    rows = [Encoded(list(range(20 + n, 40 + n)), [False] + [True] * 19) for n in range(5)]
    return ReplayText(rows, share=0.25)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"attach": attach_whole, "learning_rate": 0.001},
        {"text": text()},
        {"l2_to_start": 0.2, "micro_batch_size": 3},
    ],
    ids=["lora", "all weights", "replay", "towards the start"],
)
def test_what_goes_on_ends_with_the_same_bits(trained, given):
    weights, whole, curves, _ = trained(keeping=None, **given)
    trained(end_at=11, **given)
    again, report, told, said = trained(**given)
    assert_equal(again, weights)
    assert without_seconds(told.points) == without_seconds(curves.points), "the curves are whole"
    assert (report.resumed_from_step, report.steps) == (9, STEPS)
    same = ("trained_tokens", "replay_tokens", "best_step", "best_validation_loss", "first_loss", "last_loss")
    assert {name: getattr(report, name) for name in same} == {name: getattr(whole, name) for name in same}
    spared = next(point["trained_tokens"] for point in curves.points if point["step"] == 9)
    (line,) = said
    assert line.startswith("continuing at step 9 of 18 from a checkpoint of ")
    assert line.endswith(f": {spared:,} tokens are not trained again")


def test_tokens_that_are_trained_again_are_counted_over_all_ends(trained):
    _, _, curves, _ = trained(keeping=None)
    tokens = [point["trained_tokens"] for point in curves.points if "trained_tokens" in point]
    trained(end_at=2)
    trained(end_at=8)
    _, report, _, _ = trained()
    assert report.repeated_tokens == tokens[1] + (tokens[7] - tokens[5])
    assert report.trained_tokens == tokens[-1]


def test_a_finished_training_is_not_done_again(trained):
    weights, report, _, _ = trained()
    again, found, told, said = trained(end_at=STEPS + 1)
    assert_equal(again, weights)
    assert replace(found, resumed_from_step=None) == report
    assert len(told.points) == STEPS + 3
    assert "finished at step 18 of 18" in said[0]


def test_patience_counts_on(trained):
    """At this rate no validation is better than the start."""
    given = {"learning_rate": 1e-30, "patience": 2}
    weights, whole, _, _ = trained(keeping=None, **given)
    assert whole.steps == 12, "after two passes of six steps"
    trained(end_at=10, **given)
    again, report, _, _ = trained(**given)
    assert (report.steps, report.best_step, report.resumed_from_step) == (12, whole.best_step, 9)
    assert_equal(again, weights)


def test_random_states_are_taken_up_again(trained):
    """A loss may draw from torch's own generator, and from one of its own."""

    def attach(model: Any) -> Trainable:
        torch.manual_seed(3)
        noise = torch.Generator().manual_seed(4)
        lora = Lora(Lora.Settings(rank=2)).attach(model)

        def loss(base: Any, rows: Any) -> Any:
            for summed, count in base.engine.losses(rows):
                yield summed * (1 + torch.rand(()) + torch.rand((), generator=noise)), count

        return replace(lora, loss=loss, noise=noise)

    weights, _, _, _ = trained(keeping=None, attach=attach)
    trained(end_at=7, attach=attach)
    again, report, _, _ = trained(attach=attach)
    assert report.resumed_from_step == 6
    assert_equal(again, weights)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "kept").iterdir() if path.is_dir())


def test_so_many_are_kept(trained, tmp_path):
    trained(end_at=17, keeping=replace(KEPT, keep=3))
    assert names(tmp_path) == ["step-12", "step-15", "step-9"]


@pytest.mark.parametrize("file", ["weights.safetensors", "state.json", "manifest.json"])
def test_a_damaged_one_is_passed_over_and_named(trained, tmp_path, file):
    weights, _, _, _ = trained(keeping=None)
    trained(end_at=8)
    damaged = tmp_path / "kept" / "step-6" / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    (tmp_path / "kept" / "step-9.new").mkdir()
    again, report, _, said = trained()
    assert said[0] == "the checkpoint step-6 is passed over: it is not what was written"
    assert report.resumed_from_step == 3
    assert_equal(again, weights)


@pytest.mark.parametrize(
    ("given", "which"),
    [({"keeping": replace(KEPT, fingerprint="0" * 64)}, "fingerprint"), ({"weight_decay": 0.2}, "settings")],
)
def test_one_of_another_training_is_passed_over(trained, given, which):
    trained(end_at=5)
    _, report, _, said = trained(**given)
    assert said[0] == f"the checkpoint step-3 is passed over: it is of another training, by its {which}"
    assert report.resumed_from_step is None


def test_a_full_disk_ends_no_training(trained, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    weights, _, _, _ = trained(keeping=None)
    monkeypatch.setattr("stepladder.core.training.checkpoint.save_file", full)
    again, _, _, said = trained()
    assert said[0] == "no checkpoint of step 3: No space left on device; the training goes on"
    assert_equal(again, weights)


def test_nothing_in_a_checkpoint_can_run(trained, tmp_path):
    trained(end_at=8)
    kinds = {path.suffix for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json", ".jsonl"}
    json.loads((tmp_path / "kept" / "step-6" / "state.json").read_text())


def test_left_to_itself_a_checkpoint_may_cost_a_twentieth_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace, due = Pace(every=None, seconds=2.0, since=0.0), []
    for step in range(1, 200):
        now[0] += 1.0
        if pace.is_due(step):
            now[0] += 4.0
            pace.written(step, 4.0)
            due.append(step)
    assert due == [40, 120], "40 seconds for one of 2, then 80 for each of 4"


def test_checkpoints_are_no_settings() -> None:
    assert not {"checkpoint", "every", "keep"} & LoopSettings.model_fields.keys()
