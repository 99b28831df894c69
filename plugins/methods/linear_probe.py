"""Linear probe: logistic regression on the frozen base's hidden states, or ridge regression for numbers.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
arXiv:1610.01644; Hoerl and Kennard 1970, "Ridge Regression". The base reads every row once; several
layers, pooled over the row's tokens or taken at its last one, are kept, and cross-validation on the
training rows picks layer, pooling and regularisation. The problem is convex (labels: scikit-learn's L-BFGS
from zero) or has a closed form (numbers), so nothing depends on a seed but the folds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from ...core.data.numbers import number_as_text
from ...core.errors import StepError
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, DataSchema, Method
from ...core.model.base import Base
from ...core.model.probe import FOLDS, STRENGTHS, Array, Head, LabelHead, Numbers, cross_validate, fit_head
from ...core.types import Example, Prediction

POOLINGS = ("mean", "last")
FIRST_C = 0.1


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [LinearProbe]


class NumberHead(Head):
    """Ridge regression in float64: weight [H], bias [1]."""

    def say(self, examples: Sequence[Example], features: Array, labels: Sequence[str]) -> list[Prediction]:
        return [
            Prediction(example.id, number_as_text(number))
            for example, number in zip(examples, self.numbers(features).tolist(), strict=True)
        ]

    def numbers(self, features: Array) -> Numbers:
        """features [n, H] to [n]."""
        result = ((features - self.mean) / self.scale) @ self.weight + self.bias
        return result.astype(np.float64)


def fit_number_head(features: Array, targets: Numbers, c: float) -> NumberHead:
    """features [n, H]; targets [n].

    The penalty is counted in rows, whose H standardised features have H for the mean of their squared
    length: at FIRST_C it weighs as much as one of them, whatever the width of the base.
    """
    mean, scale = features.mean(0), features.std(0) + 1e-6
    ridge = Ridge(alpha=features.shape[1] * FIRST_C / c)
    with threadpool_limits(1):
        ridge.fit(((features - mean) / scale).astype(np.float64), targets)
    return NumberHead(ridge.coef_, np.array([ridge.intercept_]), mean, scale)


def cross_validate_numbers(features: Array, targets: Numbers, c: float, folds: int, seed: int) -> float:
    """Mean squared error on held-out folds, below 0: more is better."""
    errors = []
    for train, held_out in KFold(folds, shuffle=True, random_state=seed).split(features):
        head = fit_number_head(features[train], targets[train], c)
        errors.append(np.square(head.numbers(features[held_out]) - targets[held_out]).mean())
    return -float(np.mean(errors))


def spread_layers(layers: int, count: int) -> list[int]:
    """`count` layers from the last to the first of `layers`, evenly; one is the last."""
    return sorted({round(layer) for layer in np.linspace(layers, 1, min(count, layers))})


def read_features(base: Base, sequences: Sequence[Sequence[int]], layers: Sequence[int]) -> Array:
    """[n, layers, poolings, H] in float32: each sequence read once, its beginnings shared with others'."""
    result = np.zeros((len(sequences), len(layers), len(POOLINGS), base.hidden_size), dtype=np.float32)
    for index, states in base.engine.hidden_states(sequences):
        chosen = states[list(layers)].float()  # [layers, length, H]
        result[index] = torch.stack([chosen.mean(1), chosen[:, -1]], dim=1).cpu().numpy()
    return result


@dataclass(frozen=True)
class Goal:
    """Fits a head to the training rows' features [n, H] with C, and scores such heads by cross-validation.

    `score` is None where the rows are too few to hold any out.
    """

    fit: Callable[[Array, float], Head]
    score: Callable[[Array, float], float] | None


class Probe(Adapted):
    """A frozen base with a head on one of its layers."""

    def __init__(self, base: Base, schema: DataSchema, head: Head, layer: int, pooling: str) -> None:
        self.base = base
        self.schema = schema
        self.head = head
        self.layer = layer
        self.pooling = pooling
        self.trainable_parameters = head.weight.size + head.bias.size

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        sequences = self.base.read(examples, self.schema.instruction)
        features = read_features(self.base, sequences, [self.layer])[:, 0, POOLINGS.index(self.pooling)]
        return self.head.say(examples, features, self.schema.labels)

    def save(self, folder: Path) -> None:
        tensors = {name: np.ascontiguousarray(value) for name, value in vars(self.head).items()}
        save_file(tensors, folder / "weights.safetensors")
        (folder / "probe.json").write_text(json.dumps({"layer": self.layer, "pooling": self.pooling}))

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        read: dict[str, Any] = json.loads((folder / "probe.json").read_text())
        head = NumberHead if schema.task.answering == "number" else LabelHead
        return cls(base, schema, head(**load_file(folder / "weights.safetensors")), **read)


class LinearProbe(Method):
    name = "linear_probe"
    rung = 1.0
    summary = "a linear head on frozen, cached features"
    answers = ("label", "number")
    bases = ("causal", "encoder")
    adapted = Probe

    class Settings(Method.Settings):
        layers: int = Field(8, ge=1, description="how many layers are tried, evenly spread")
        folds: int = Field(FOLDS, ge=2, description="folds of the cross-validation")
        c: list[Annotated[float, Field(gt=0)]] = Field(
            list(STRENGTHS), min_length=1, description="inverse strengths of L2 regularisation to try"
        )
        seed: int = 0

    settings: Settings

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        examples = data.train.examples()
        layers = spread_layers(base.model.config.get_text_config().num_hidden_layers, self.settings.layers)
        features = read_features(base, base.read(examples, data.instruction), layers)
        goal = self._goal(data, examples)
        place, pooling, c = choose(features, goal, self.settings.c)
        by = "cross-validated" if goal.score else "not cross-validated, since no label has two training rows"
        context.log(f"linear_probe: layer {layers[place]}, {POOLINGS[pooling]} pooling, C={c:g}; {by}")
        schema = DataSchema(data.task, data.instruction, data.labels)
        head = goal.fit(features[:, place, pooling], c)
        return Probe(base, schema, head, layers[place], POOLINGS[pooling])

    def _goal(self, data: Data, examples: Sequence[Example]) -> Goal:
        if data.task.answering == "number":
            return self._numbers(np.array([float(example.expected) for example in examples]))
        return self._labels(
            np.array([data.labels.index(each.expected) for each in examples]), len(data.labels)
        )

    def _numbers(self, targets: Numbers) -> Goal:
        if len(targets) < 2:
            raise StepError("linear_probe: one training row cannot be cross-validated; give it more")
        folds = min(self.settings.folds, len(targets))
        judge = partial(cross_validate_numbers, folds=folds, seed=self.settings.seed)
        return Goal(
            fit=lambda features, c: fit_number_head(features, targets, c),
            score=lambda features, c: judge(features, targets, c),
        )

    def _labels(self, labels: NDArray[np.int64], count: int) -> Goal:
        fit = partial(_fit_labels, labels, count)
        largest = int(np.bincount(labels).max())
        if largest < 2:
            return Goal(fit, score=None)
        judge = partial(cross_validate, folds=min(self.settings.folds, largest), seed=self.settings.seed)
        return Goal(fit, score=lambda features, c: judge(features, labels, c))


def choose(features: Array, goal: Goal, strengths: Sequence[float]) -> tuple[int, int, float]:
    """Place of the layer and of the pooling, and C, with the best cross-validated scores.

    The place is chosen first, with one C. Without scores: the last layer, its mean, and C as near to that one
    as there is.
    """
    score = goal.score
    if score is None:
        nearest = min(strengths, key=lambda c: abs(math.log(c / FIRST_C)))
        return features.shape[1] - 1, POOLINGS.index("mean"), nearest
    places = [(p, q) for p in range(features.shape[1]) for q in range(features.shape[2])]
    place, pooling = max(places, key=lambda place: score(features[:, place[0], place[1]], FIRST_C))
    return place, pooling, max(strengths, key=lambda c: score(features[:, place, pooling], c))


def _fit_labels(labels: NDArray[np.int64], count: int, features: Array, c: float) -> Head:
    return fit_head(features, labels, count, c)
