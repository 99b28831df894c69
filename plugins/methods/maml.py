"""MAML: an initialisation from which few gradient steps on few rows solve a new task of the family.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
arXiv:1703.03400: equation 1 and algorithms 1 and 2; the first-order approximation is that of its §5.2.

Each row says of which task it is (`data.columns.task`), as "banking" or "travel" in a family of sets of
intents. The initialisation is learned in episodes from the tasks with rows enough. From it the same few
gradient steps are taken on the training rows of every task, also of those that have but few rows, or that
`target` names: these are the new ones, of which the initialisation has seen nothing. Saved are the
initialisation and each task's weights; a row is answered by those of its task, with one of its labels.

Since tasks have labels of their own, no head is learned. Each episode, and each task, begins with the
prototypes of its rows as a linear layer, which the gradient steps then move with all else (Proto-MAML:
Triantafillou et al. 2020, arXiv:1903.03096, §3).

What learns is a small network on the base's frozen features, whitened by what rows of one label differ in,
with exact gradients through the inner steps; or low-rank updates in the base (`learns: lora`), first-order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap

from ...core.data.episodes import TaskRows, draw_episode, drawable, rows_by_task
from ...core.errors import DataError, StepError, did_you_mean
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, DataSchema, Method, Trainable
from ...core.model.base import Base
from ...core.model.by_task import ByTask, Solved, head_logits, prototype_head
from ...core.model.features import Features, NetworkFeatures, Rows, UpdatedFeatures, Weights, network
from ...core.training.course import OwnSteps
from ...core.types import TrainReport

# Rows with what is right of each [n]; and an episode's: those to adapt on, and those to judge that by.
Batch = tuple[Rows, Tensor]
Episode = tuple[Batch, Batch]
Loss = Callable[[Weights, Batch], Tensor]
Slope = Callable[[Weights, Batch], Weights]

SHARPNESS = 5.0  # features lie at most 2 apart, so that prototypes alone would tell labels apart too softly

INNER_RATES = {"network": 5.0, "lora": 0.1}


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [Maml]


# --- the algorithm, whatever is learned ---


@dataclass(frozen=True)
class Inner:
    """The inner loop: so many gradient steps, at the rate alpha."""

    steps: int
    rate: float


def descend(slope: Slope, weights: Weights, batch: Batch, inner: Inner) -> Weights:
    """Weights adapted to one task (algorithm 1, lines 5 and 6)."""
    for _ in range(inner.steps):
        slopes = slope(weights, batch)
        weights = {name: weight - inner.rate * slopes[name] for name, weight in weights.items()}
    return weights


def outer_loss(loss: Loss, start: Slope, inner: Inner, weights: Weights, episode: Episode) -> Tensor:
    """A task's term of equation 1; `start` gives the weights before the first inner step."""
    support, query = episode
    return loss(descend(grad(loss), start(weights, support), support, inner), query)


def outer_slopes(
    of_task: Callable[[Weights, Episode], Tensor], weights: Weights, episodes: Episode
) -> tuple[Weights, Tensor]:
    """Gradient and value of the mean outer loss over tasks; the episodes' tensors begin with [tasks, n]."""
    slopes, losses = vmap(grad_and_value(of_task), in_dims=(None, 0))(weights, episodes)
    return {name: slope.mean(0) for name, slope in slopes.items()}, losses.mean()


# --- a small network, with exact gradients ---


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows, in nats; of plain operations, since torch's own cannot be mapped over tasks."""
    return -logits.log_softmax(-1).gather(1, labels[:, None]).mean()


def network_loss(weights: Weights, batch: Batch) -> Tensor:
    rows, labels = batch
    return cross_entropy(head_logits(weights, network(weights, rows)), labels)


def network_start(weights: Weights, batch: Batch, ways: int) -> Weights:
    rows, labels = batch
    return {**weights, **prototype_head(network(weights, rows), labels, ways, SHARPNESS)}


def exact(weights: Weights, episodes: Sequence[Episode], inner: Inner) -> tuple[Weights, Tensor]:
    """Gradient and value of the mean outer loss, through the inner steps."""
    supports, queries = ((_stack(rows), _stack(labels)) for rows, labels in map(_unzip, _unzip(episodes)))
    start = partial(network_start, ways=int(supports[1].max()) + 1)
    return outer_slopes(partial(outer_loss, network_loss, start, inner), weights, (supports, queries))


def _unzip(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors))


# --- any features, first-order ---


def slopes_and_loss(features: Features, weights: Weights, batch: Batch) -> tuple[Weights, Tensor]:
    """Of the mean loss of a batch of any size: its graphs are made and left one by one."""
    rows, labels = batch
    leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    slopes = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    total = torch.zeros((), device=features.device)
    for indices, part in features.parts(leaves, rows):
        loss = cross_entropy(head_logits(leaves, part), labels[indices].to(features.device))
        share = len(indices) / len(labels)
        # Materialised, since some layers have no part in the features, such as an encoder's pooler.
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        for name, slope in zip(leaves, found, strict=True):
            slopes[name] += share * slope
        total += share * loss.detach()
    return slopes, total


def solve(features: Features, weights: Weights, batch: Batch, inner: Inner) -> Weights:
    """What the initialisation becomes on a task's rows."""
    rows, labels = batch
    head = prototype_head(features.of(weights, rows), labels, int(labels.max()) + 1, SHARPNESS)
    slope = partial(_slope, features)
    return _detached(descend(slope, {**weights, **head}, batch, inner))


def first_order(
    features: Features, weights: Weights, episodes: Sequence[Episode], inner: Inner
) -> tuple[Weights, Tensor]:
    """The gradient at the adapted weights, taken for that at the initialisation (§5.2)."""
    adapted = [(solve(features, weights, support, inner), query) for support, query in episodes]
    done = [slopes_and_loss(features, *each) for each in adapted]
    means = {name: _stack([slopes[name] for slopes, _ in done]).mean(0) for name in weights}
    return means, _stack([loss for _, loss in done]).mean()


def _slope(features: Features, weights: Weights, batch: Batch) -> Weights:
    return slopes_and_loss(features, weights, batch)[0]


def _detached(weights: Mapping[str, Tensor]) -> Weights:
    return {name: weight.detach() for name, weight in weights.items()}


# --- the method ---


class Maml(Method):
    name = "maml"
    rung = 2.0
    summary = "an initialisation from which few gradient steps solve a new task"
    answers = ("label",)
    bases = ("causal", "encoder")
    needs_tasks = True
    adapted = ByTask

    class Settings(Method.Settings):
        learns: Literal["network", "lora"] = Field(
            "network",
            description="a small network on the base's frozen features, or low-rank updates in the base",
        )
        shots: int = Field(5, ge=1, description="rows of each label that an episode adapts on")
        ways: int = Field(15, ge=2, description="labels of an episode; fewer where a task has fewer")
        steps: int = Field(10, ge=1, description="gradient steps on a task's rows")
        inner_rate: float | None = Field(
            None, gt=0, description="their learning rate; default: 5 for the network, 0.1 for lora"
        )
        episodes: int = Field(400, ge=1, description="episodes from which the initialisation is learned")
        batch_size: int = Field(4, ge=1, description="episodes a step of the initialisation")
        learning_rate: float = Field(3e-4, gt=0, description="of the initialisation, by Adam")
        width: int = Field(64, ge=1, description="hidden units of the network")
        rank: int = Field(8, ge=1, description="of the low-rank updates")
        target: list[str] | None = Field(
            None,
            description="tasks that are adapted to and not learned from; default: those with too few rows",
        )
        seed: int = 0

    settings: Settings

    @property
    def inner(self) -> Inner:
        return Inner(self.settings.steps, self.settings.inner_rate or INNER_RATES[self.settings.learns])

    def features(self, base: Base) -> Features:
        if self.settings.learns == "lora":
            return UpdatedFeatures(base, self.settings.rank)
        return NetworkFeatures(base, self.settings.width)

    def data_fault(self, data: Data) -> str | None:
        return family_fault(rows_by_task(data.train.examples()), self.settings)

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        """Raises DataError where `data_fault` has something to say."""
        examples = data.train.examples()
        tasks = rows_by_task(examples)
        fault = family_fault(tasks, self.settings)
        if fault:
            raise DataError(f"maml: {fault}")
        features = self.features(base)
        labels = [str(example.expected) for example in examples]
        rows = features.read(base.read(examples, data.instruction), labels)
        learned = learned_tasks(tasks, self.settings)
        context.log(f"maml: learns from {len(learned)} of {len(tasks)} tasks, and adapts to each")
        initial, report = self._learn(features, self._draw(features, rows, learned), context)
        solved = {task: self._solve(features, rows, initial, by_label) for task, by_label in tasks.items()}
        schema = DataSchema(data.task, data.instruction, data.labels)
        adapting = ByTask(base, schema, features, initial, solved)
        adapting.report = report
        return adapting

    def _draw(self, features: Features, rows: Rows, tasks: Sequence[TaskRows]) -> Iterator[list[Episode]]:
        """The episodes of each step without end, all of as many labels."""
        settings, source = self.settings, random.Random(self.settings.seed)
        ways = min(settings.ways, *(len(drawable(task, settings.shots)) for task in tasks))
        while True:
            drawn = [draw_episode(tasks, ways, settings.shots, source) for _ in range(settings.batch_size)]
            yield [
                (
                    (features.pick(rows, each.support), torch.tensor(each.labels)),
                    (features.pick(rows, each.query), torch.tensor(each.labels)),
                )
                for each in drawn
            ]

    def _learn(
        self, features: Features, drawn: Iterator[list[Episode]], context: Context
    ) -> tuple[Weights, TrainReport]:
        """Algorithm 2; the outer step is Adam's, and what is counted are the rows that judge."""
        weights = {name: nn.Parameter(weight) for name, weight in features.begin(self.settings.seed).items()}
        optimizer = torch.optim.Adam(weights.values(), lr=self.settings.learning_rate)
        outer = exact if self.settings.learns == "network" else partial(first_order, features)

        def take(step: int, episodes: Sequence[Episode]) -> tuple[float, int]:
            slopes, loss = outer(_detached(weights), episodes, self.inner)
            for name, weight in weights.items():
                weight.grad = slopes[name]
            optimizer.step()
            return _finite(loss, step), sum(len(labels) for _, (_, labels) in episodes)

        count = math.ceil(self.settings.episodes / self.settings.batch_size)
        own = OwnSteps(Trainable(weights, detach=_nothing), optimizer, count, drawn, take)
        report = context.take_steps(own, self.settings)
        return _detached(weights), report

    def _solve(self, features: Features, rows: Rows, initial: Weights, by_label: TaskRows) -> Solved:
        indices = list(chain.from_iterable(by_label.values()))
        places = [place for place, each in enumerate(by_label.values()) for _ in each]
        batch = features.pick(rows, indices), torch.tensor(places)
        return Solved(tuple(by_label), solve(features, initial, batch, self.inner))


def learned_tasks(tasks: Mapping[str, TaskRows], settings: Maml.Settings) -> list[TaskRows]:
    """Those of which episodes with two labels can be drawn, and that are no target."""
    targets = settings.target or ()
    return [
        rows
        for task, rows in tasks.items()
        if task not in targets and len(drawable(rows, settings.shots)) > 1
    ]


def family_fault(tasks: Mapping[str, TaskRows], settings: Maml.Settings) -> str | None:
    """Why no initialisation can be learned from these tasks, or not adapted to one of them."""
    if len(tasks) < 2:
        return (
            f"all training rows are of one task, {next(iter(tasks))!r}; expected rows of several tasks of a "
            "family, told apart by the column that data.columns.task names"
        )
    for target in settings.target or ():
        if target not in tasks:
            return f"target: no training row is of the task {target!r}{did_you_mean(target, tasks)}"
    for task, rows in tasks.items():
        count = sum(map(len, rows.values()))
        if count < settings.shots:
            return (
                f"the task {task!r} has {count} training rows, fewer than shots: {settings.shots}; give it "
                "more, leave it out, or lower shots"
            )
    learned = len(learned_tasks(tasks, settings))
    if learned < 2:
        return (
            f"of {len(tasks)} tasks {learned} can be learned from, expected at least 2 that are no target "
            f"and have two labels with {2 * settings.shots} rows (twice shots): give more, or lower shots"
        )
    return None


def _nothing() -> None:
    """The initialisation is attached to no base."""


def _finite(loss: Tensor, step: int) -> float:
    if not loss.isfinite():
        raise StepError(f"maml: the loss is {float(loss)} at step {step}: lower inner_rate or learning_rate")
    return float(loss)
