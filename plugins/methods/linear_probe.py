"""Linear probe: logistic regression on the frozen base's hidden states, or ridge regression for numbers.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
arXiv:1610.01644; Hoerl and Kennard 1970, "Ridge Regression". The base reads every row once; several
layers, pooled over the row's tokens or taken at its last one, are kept, and cross-validation on the
training rows picks layer, pooling and regularisation. The problem is convex (labels: scikit-learn's L-BFGS
from zero) or has a closed form (numbers), so nothing depends on a seed but the folds.
"""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
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
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from ...core.data.numbers import number_as_text
from ...core.errors import StepError
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, DataSchema, Method
from ...core.model.base import Base
from ...core.types import Example, Prediction

POOLINGS = ("mean", "last")
FIRST_C = 0.1
NEVER = -1e4  # the score of a label without rows: no chance, and yet a number that JSON can hold
Array = NDArray[np.float32]
Numbers = NDArray[np.float64]


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [LinearProbe]


@dataclass(frozen=True)
class Head(ABC):
    """Linear on standardised features: mean and scale [H]."""

    weight: Array | Numbers
    bias: Array | Numbers
    mean: Array
    scale: Array

    @abstractmethod
    def say(self, examples: Sequence[Example], features: Array, labels: Sequence[str]) -> list[Prediction]:
        """What the head says of each example, given its features [n, H]."""


class LabelHead(Head):
    """Softmax regression: weight [labels, H], bias [labels]."""

    def say(self, examples: Sequence[Example], features: Array, labels: Sequence[str]) -> list[Prediction]:
        return [
            Prediction(example.id, labels[int(row.argmax())], dict(zip(labels, row.tolist(), strict=True)))
            for example, row in zip(examples, self.log_probabilities(features), strict=True)
        ]

    def log_probabilities(self, features: Array) -> Array:
        """features [n, H] to [n, labels]."""
        logits = ((features - self.mean) / self.scale) @ self.weight.T + self.bias
        shifted = logits - logits.max(1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return result


class NumberHead(Head):
    """Ridge regression in float64: weight [H], bias [1]."""

    def say(self, examples: Sequence[Example], features: Array, labels: Sequence[str]) -> list[Prediction]:
        return [
            Prediction(example.id, number_as_text(number))
            for example, number in zip(examples, self.numbers(features).tolist(), strict=True)
        ]

    def numbers(self, features: Array) -> Numbers:
        """features [n, H] to [n]."""
        result: Numbers = ((features - self.mean) / self.scale) @ self.weight + self.bias
        return result


def fit_head(features: Array, labels: NDArray[np.int64], count: int, c: float) -> LabelHead:
    """features [n, H]; labels [n] in 0..count-1. A label without a row gets no weight and no chance."""
    mean, scale = features.mean(0), features.std(0) + 1e-6
    present = np.unique(labels)
    weight = np.zeros((count, features.shape[1]), dtype=np.float32)
    bias = np.full(count, NEVER, dtype=np.float32)
    bias[present] = 0.0
    if len(present) > 1:
        weight[present], bias[present] = _regress((features - mean) / scale, labels, c)
    return LabelHead(weight, bias, mean, scale)


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


def _regress(features: Array, labels: NDArray[np.int64], c: float) -> tuple[Array, Array]:
    """Weights and biases of the labels that have rows, in order."""
    model = LogisticRegression(C=c, max_iter=300, tol=1e-3)
    # The problem is small: threads wait for each other longer than they compute.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn then keeps one row: how far the second label is ahead
        weight, bias = np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
    return weight.astype(np.float32), bias.astype(np.float32)


def cross_validate(features: Array, labels: NDArray[np.int64], c: float, folds: int, seed: int) -> float:
    """Mean log-probability of the right label on held-out folds: finer than accuracy on few rows."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer rows than folds
        splits = list(splitter.split(features, labels))
    for train, held_out in splits:
        head = fit_head(features[train], labels[train], int(labels.max()) + 1, c)
        said = head.log_probabilities(features[held_out])[np.arange(len(held_out)), labels[held_out]]
        scores.append(np.maximum(said, -20.0).mean())
    return float(np.mean(scores))


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
    """Fits a head to the training rows' features [n, H] with C, and scores such heads by cross-validation."""

    fit: Callable[[Array, float], Head]
    score: Callable[[Array, float], float]


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
        folds: int = Field(4, ge=2, description="folds of the cross-validation")
        c: list[Annotated[float, Field(gt=0)]] = Field(
            [0.01, 0.1, 1.0], min_length=1, description="inverse strengths of L2 regularisation to try"
        )
        seed: int = 0

    settings: Settings

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        examples = data.train.examples()
        layers = spread_layers(base.model.config.get_text_config().num_hidden_layers, self.settings.layers)
        features = read_features(base, base.read(examples, data.instruction), layers)
        goal = self._goal(data, examples)
        place, pooling = choose_features(features, goal)
        chosen = features[:, place, pooling]
        c = max(self.settings.c, key=lambda c: goal.score(chosen, c))
        context.log(f"linear_probe: layer {layers[place]}, {POOLINGS[pooling]} pooling, C={c:g}")
        schema = DataSchema(data.task, data.instruction, data.labels)
        return Probe(base, schema, goal.fit(chosen, c), layers[place], POOLINGS[pooling])

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
        largest = int(np.bincount(labels).max())
        if largest < 2:
            raise StepError("linear_probe: no label has two training rows, so nothing can be cross-validated")
        judge = partial(cross_validate, folds=min(self.settings.folds, largest), seed=self.settings.seed)
        return Goal(
            fit=lambda features, c: fit_head(features, labels, count, c),
            score=lambda features, c: judge(features, labels, c),
        )


def choose_features(features: Array, goal: Goal) -> tuple[int, int]:
    """Place of the layer and of the pooling with the best cross-validated score."""
    places = [(p, q) for p in range(features.shape[1]) for q in range(features.shape[2])]
    return max(places, key=lambda place: goal.score(features[:, place[0], place[1]], FIRST_C))
