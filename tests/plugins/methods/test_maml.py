"""MAML: its gradients against finite differences, fits on tiny bases, and a run from end to end."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from stepladder.core.errors import DataError
from stepladder.core.method import Data
from stepladder.core.model.adapter import Description, read_adapter, write_adapter
from stepladder.core.model.features import UpdatedFeatures
from stepladder.core.training.checkpoint import Keeping
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example
from stepladder.plugins.methods.maml import (
    Inner,
    Maml,
    descend,
    family_fault,
    first_order,
    outer_loss,
    outer_slopes,
    solve,
)
from torch import Tensor, nn

Weights = dict[str, Tensor]


# --- gradients ---


def quartic(weights: Weights, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A loss whose second derivatives are no constants."""
    rows, targets = batch
    return ((rows @ weights["w"]).tanh() + weights["b"] - targets).pow(4).mean()


@pytest.fixture
def small() -> tuple[Weights, Any]:
    """Weights, and one episode (support, query), in float64."""
    generator = torch.Generator().manual_seed(0)

    def batch(rows: int) -> tuple[Tensor, Tensor]:
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        return draw(rows, 3), draw(rows)

    weights = {"w": torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64), "b": torch.tensor(0.1).double()}
    return weights, (batch(4), batch(6))


def as_it_is(weights: Weights, _: object) -> Weights:
    return weights


def of_one_task(weights: Weights, episode: Any, inner: Inner) -> Tensor:
    return outer_loss(quartic, as_it_is, inner, weights, episode)


def finite_differences(value: Callable[[Weights], Tensor], weights: Weights) -> list[float]:
    """The gradient of `value` at `weights`, coordinate by coordinate."""
    slopes, step = [], 1e-6
    for name, weight in weights.items():
        for place in range(weight.numel()):
            shift = torch.zeros(weight.numel(), dtype=weight.dtype)
            shift[place] = step
            up, down = (
                {**weights, name: weight + sign * shift.reshape(weight.shape)} for sign in (1.0, -1.0)
            )
            slopes.append(float(value(up) - value(down)) / (2 * step))
    return slopes


def flat(slopes: Weights) -> list[float]:
    return torch.cat([slope.reshape(-1) for slope in slopes.values()]).tolist()


@pytest.mark.parametrize("steps", [1, 3])
def test_the_outer_gradient_goes_through_the_inner_steps(small, steps):
    weights, episode = small
    of_task = partial(of_one_task, inner=Inner(steps, 0.05))
    alone = tuple((rows[None], targets[None]) for rows, targets in episode)
    slopes, loss = outer_slopes(of_task, weights, alone)
    expected = finite_differences(lambda moved: of_task(moved, episode), weights)
    assert flat(slopes) == pytest.approx(expected, rel=1e-6)
    assert float(loss) == pytest.approx(float(of_task(weights, episode)))
    # The first-order gradient is that of the query loss at the adapted weights: another one.
    adapted = descend(torch.func.grad(quartic), weights, episode[0], Inner(steps, 0.05))
    first = flat(torch.func.grad(quartic)(adapted, episode[1]))
    assert max(abs(one - other) for one, other in zip(first, expected, strict=True)) > 0.01


def test_the_gradient_of_several_tasks_is_the_mean_of_theirs(small):
    weights, (support, query) = small
    of_task = partial(of_one_task, inner=Inner(2, 0.05))
    other = tuple((rows * 2, targets - 1) for rows, targets in (support, query))
    both = tuple(
        (torch.stack([one[0], two[0]]), torch.stack([one[1], two[1]]))
        for one, two in zip((support, query), other, strict=True)
    )
    slopes, loss = outer_slopes(of_task, weights, both)
    each = [finite_differences(lambda w, e=e: of_task(w, e), weights) for e in ((support, query), other)]
    assert flat(slopes) == pytest.approx([(a + b) / 2 for a, b in zip(*each, strict=True)], rel=1e-6)
    assert float(loss) == pytest.approx(
        float(of_task(weights, (support, query)) + of_task(weights, other)) / 2
    )


def test_steps_are_plain_gradient_descent():
    weights = {"x": torch.tensor(1.0)}
    found = descend(lambda w, _: {"x": 2 * w["x"]}, weights, (None, torch.empty(0)), Inner(3, 0.25))
    assert found["x"].item() == 0.125
    assert weights["x"].item() == 1.0


# --- on a base ---

QUICK: dict[str, dict[str, Any]] = {
    "network": {"shots": 1, "episodes": 60, "learning_rate": 0.01},
    "lora": {"shots": 1, "episodes": 8, "steps": 2, "batch_size": 2, "learns": "lora"},
}


@pytest.fixture
def family(toy: Data) -> Data:
    """Cars, houses with doors, and paint, of which there are four rows; each task has labels of its own."""
    tasks = {"car": "cars", "house": "houses", "door": "houses", "paint": "paint"}

    def told(split: Any, most: int | None) -> Any:
        rows = []
        for row in split.examples():
            task = next(tasks[thing] for thing in tasks if thing in row.input)
            label = f"{task} {row.input.split()[-1]}"
            same = [each for each in rows if each.expected == label]
            if not (most and task == "paint" and len(same) == most):
                rows.append(replace(row, task=task, expected=label))
        return type(split)(rows, [])

    train, validation = told(toy.train, 2), told(toy.validation, None)
    labels = tuple(sorted({row.expected for row in train.examples()}))
    return Data(toy.task, toy.instruction, labels, train, validation)


@pytest.mark.parametrize("learns", ["network", "lora"])
def test_a_task_of_four_rows_is_answered_among_its_own_labels(family, load_encoder, tmp_path, learns):
    settings = Maml.Settings(**QUICK[learns], target=["paint"])
    adapted = Maml(settings).fit(load_encoder(), family, FitContext(tmp_path))
    rows = family.validation.examples()
    said = adapted.predict(rows)
    right = [each.predicted == row.expected for each, row in zip(said, rows, strict=True)]
    assert sum(right) > 0.8 * len(rows)
    for each, row in zip(said, rows, strict=True):
        own = {label: score for label, score in (each.scores or {}).items() if score > -1e3}
        assert set(own) == {f"{row.task} red", f"{row.task} blue"}
        assert sum(map(math.exp, own.values())) == pytest.approx(1, abs=1e-5)
    assert adapted.report is not None and adapted.report.steps == {"network": 15, "lora": 4}[learns]
    assert not adapted.alters_base


def test_the_base_is_left_as_it_was(family, load_encoder, tmp_path):
    base = load_encoder()
    before = [states.clone() for _, states in base.engine.hidden_states([[5, 6, 7]])]
    Maml(Maml.Settings(**QUICK["lora"])).fit(base, family, FitContext(tmp_path))
    after = [states for _, states in base.engine.hidden_states([[5, 6, 7]])]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_first_order_is_the_gradient_at_the_adapted_weights(family, load_encoder):
    """Against finite differences of the query loss around the adapted weights, head included."""
    base = load_encoder()
    features = UpdatedFeatures(base, rank=1)
    weights = {name: weight + 0.05 for name, weight in features.begin(0).items()}
    rows = base.read(family.train.examples()[:6], "")
    support, query = ((rows[place : place + 3], torch.tensor([0, 1, 0])) for place in (0, 3))
    inner = Inner(2, 0.1)
    slopes, loss = first_order(features, weights, [(support, query)], inner)
    adapted = solve(features, weights, support, inner)

    def query_loss(moved: Weights) -> float:
        logits = nn.functional.linear(
            features.of(moved, query[0]), adapted["head.weight"], adapted["head.bias"]
        )
        return float(nn.functional.cross_entropy(logits, query[1]))

    assert float(loss) == pytest.approx(query_loss(adapted), rel=1e-4)
    for name in list(weights)[:3]:
        direction = torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(1))
        step = 1e-2
        ends = [query_loss({**adapted, name: adapted[name] + sign * step * direction}) for sign in (1, -1)]
        assert float((slopes[name] * direction).sum()) == pytest.approx(
            (ends[0] - ends[1]) / (2 * step), rel=0.03, abs=2e-4
        )


class Killed(Exception):
    """Stands for a SIGKILL: nothing is written behind it."""


class Ending(FitContext):
    """Ends the fit once it has told of that step."""

    def __init__(self, folder: Path, keeping: Keeping, step: int | None = None) -> None:
        super().__init__(folder, keeping=keeping)
        self.step = step
        self.losses: list[float] = []

    def progress(self, **figures: float) -> None:
        self.losses.append(figures["loss"])
        if figures["step"] == self.step:
            raise Killed


@pytest.mark.parametrize("learns", ["network", "lora"])
def test_a_killed_fit_goes_on_behind_its_last_checkpoint_to_the_same_bits(
    family, load_encoder, tmp_path, capsys, learns
):
    every, ended = {"network": (4, 11), "lora": (1, 3)}[learns]
    method, keeping = Maml(Maml.Settings(**QUICK[learns])), Keeping(tmp_path / "kept", "f" * 64, every=every)
    whole = Ending(tmp_path, replace(keeping, folder=tmp_path / "other"))
    expected = method.fit(load_encoder(), family, whole)
    with pytest.raises(Killed):
        method.fit(load_encoder(), family, Ending(tmp_path, keeping, ended))
    capsys.readouterr()
    context = Ending(tmp_path, keeping)
    adapted = method.fit(load_encoder(), family, context)
    assert adapted.initial.keys() == expected.initial.keys()
    assert all(torch.equal(adapted.initial[name], weight) for name, weight in expected.initial.items())
    rows = family.validation.examples()
    assert adapted.predict(rows) == expected.predict(rows)
    assert context.losses == whole.losses, "the curves are whole"
    begun, steps = every * ((ended - 1) // every), expected.report.steps
    rows_a_step = expected.report.trained_tokens // steps
    assert adapted.report.resumed_from_step == begun
    assert adapted.report.repeated_tokens == (ended - begun) * rows_a_step
    assert adapted.report.trained_tokens == expected.report.trained_tokens
    assert f"continuing at step {begun} of {steps} from a checkpoint of " in capsys.readouterr().out
    again = method.fit(load_encoder(), family, Ending(tmp_path, keeping))
    assert again.report.resumed_from_step == steps, "what is finished is not done again"


@pytest.mark.parametrize("learns", ["network", "lora"])
def test_saved_and_loaded_it_says_the_same(family, load_encoder, registry, tmp_path, learns):
    settings = Maml.Settings(**QUICK[learns])
    adapted = Maml(settings).fit(load_encoder(), family, FitContext(tmp_path))
    schema = {"task": "classify", "instruction": family.instruction, "labels": list(family.labels)}
    about = Description("maml", settings.model_dump(), "maml", "", "tiny-bert", "1" * 64, schema)
    write_adapter(tmp_path / "artifact", adapted, about)
    loaded = read_adapter(tmp_path / "artifact", load_encoder(), registry)
    rows = family.validation.examples()
    assert loaded.predict(rows) == adapted.predict(rows)
    assert loaded.trainable_parameters == adapted.trainable_parameters > 0
    assert loaded.merge() is None


def test_a_row_of_a_task_without_training_rows_is_refused_by_its_name(family, load_encoder, tmp_path):
    adapted = Maml(Maml.Settings(**QUICK["network"])).fit(load_encoder(), family, FitContext(tmp_path))
    with pytest.raises(DataError, match=r"row r is of the task 'car' \(did you mean 'cars'\?\)"):
        adapted.predict([Example("r", "the car is red", "", task="car")])


# --- bad input ---

FULL = {"x": range(10), "y": range(10)}


@pytest.mark.parametrize(
    ("tasks", "settings", "said"),
    [
        ({"": FULL}, {}, "all training rows are of one task, ''"),
        ({"a": FULL}, {}, "all training rows are of one task, 'a'; expected rows of several"),
        ({"a": FULL, "b": FULL}, {"target": ["c"]}, "target: no training row is of the task 'c'"),
        ({"bank": FULL, "b": FULL}, {"target": ["bnak"]}, "did you mean 'bank'?"),
        ({"a": FULL, "b": FULL, "c": {"x": range(4)}}, {}, "the task 'c' has 4 training rows, fewer than"),
        ({"a": FULL, "b": FULL}, {"target": ["a"]}, "of 2 tasks 1 can be learned from, expected at least 2"),
        ({"a": FULL, "b": {"x": range(10), "y": range(9)}}, {}, "two labels with 10 rows (twice shots)"),
    ],
)  # fmt: skip
def test_a_family_that_nothing_can_be_learned_from_is_told(tasks, settings, said):
    assert said in (family_fault(tasks, Maml.Settings(**settings)) or "nothing")


def test_few_rows_make_a_task_a_new_one(family):
    new = {"x": range(5), "y": range(5)}
    assert family_fault({"a": FULL, "b": FULL, "new": new}, Maml.Settings()) is None
    assert family_fault({"a": FULL, "b": FULL, "new": new}, Maml.Settings(target=["b"])) is not None


def test_a_fit_refuses_rows_without_tasks(toy, base, tmp_path):
    with pytest.raises(DataError, match="maml: all training rows are of one task"):
        Maml(Maml.Settings()).fit(base, toy, FitContext(tmp_path))


# --- as a run ---

CONFIG = """
name: things
base: {base}
task: classify
data:
  train: train.jsonl
  test: test.jsonl
  columns: {{input: text, label: colour, task: thing}}
methods:
  - maml: {{shots: 2, episodes: 8}}
  - linear_probe: {{layers: 1}}
register: things
"""
RUN = "import sys; from stepladder.flows.cli import main; sys.argv = ['stepladder', *sys.argv[1:]]; main()"


def stepladder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STEPLADDER_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Path:
    """Rows of three tasks, and of a fourth that has but few."""
    folder = tmp_path_factory.mktemp("project")
    rows = [
        {
            "text": f"{whose} {thing} {verb} {shade} {colour}",
            "colour": colour,
            "thing": thing,
            "kind": "thing",
        }
        for shade in ("very", "quite", "dull", "bright")
        for whose in ("my", "your", "the")
        for verb in ("is", "was", "seems")
        for thing in ("car", "house", "door", "paint")
        for colour in ("red", "blue")
    ]
    few = [row for row in rows if row["thing"] == "paint"][:8]
    train = [row for row in rows[:216] if row["thing"] != "paint"] + few
    for name, part in (("train", train), ("test", rows[216:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "things.yaml").write_text(CONFIG.format(base=encoder_folder))
    return folder


def test_a_run_answers_each_row_by_its_task_and_verifies(project):
    done = stepladder(project, "run", "things.yaml", "--engine", "inline")
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = project.glob("runs/things-*/result.json")
    result = json.loads(path.read_text())
    by_id = {each["id"]: each for each in result["candidates"]}
    assert {name: each["status"] for name, each in by_id.items()} == {"maml": "ok", "linear_probe": "ok"}
    lines = [json.loads(line) for line in Path(by_id["maml"]["predictions"]).read_text().splitlines()]
    assert {line["task"] for line in lines} == {"car", "house", "door", "paint"}
    assert all(line["predicted"] in ("red", "blue") for line in lines)
    assert by_id["maml"]["cost"]["trainable_parameters"] == 2 * 64 * 32 + 64
    verified = stepladder(project, "verify", by_id["maml"]["artifact"])
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "rows of predictions.jsonl answered as then" in verified.stdout


def test_a_config_without_a_column_of_tasks_is_told_before_anything_is_read(project):
    command = ("check", "things.yaml", "--set")
    done = stepladder(project, *command, "data.columns={input: text, label: colour, task: tihng}")
    assert done.returncode == 2
    assert "data.columns.task: no row has a column 'tihng' (did you mean 'thing'?)" in done.stderr
    done = stepladder(project, *command, "data.columns={input: text, label: colour}")
    assert done.returncode == 2
    assert "methods.maml: learns from several tasks of one family" in done.stderr
