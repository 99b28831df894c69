"""Linear probe: logistic regression on the frozen base's hidden states.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
arXiv:1610.01644. The base reads every row once; several layers, pooled over the row's tokens or taken at
its last one, are kept, and cross-validation on the training rows picks layer, pooling and regularisation.
The head starts at zero (scikit-learn's L-BFGS) and the problem is convex, so nothing depends on a seed
but the folds.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from ...core.errors import StepError
from ...core.hookspecs import hookimpl
from ...core.method import Adapted, Context, Data, DataSchema, Method
from ...core.model.base import Base
from ...core.types import Example, Prediction

POOLINGS = ("mean", "last")
FIRST_C = 0.1
NEVER = -1e4  # the score of a label without rows: no chance, and yet a number that JSON can hold
Array = NDArray[np.float32]


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [LinearProbe]


@dataclass(frozen=True)
class Head:
    """Softmax regression on standardised features: weight [labels, H], bias [labels], mean and scale [H]."""

    weight: Array
    bias: Array
    mean: Array
    scale: Array

    def log_probabilities(self, features: Array) -> Array:
        """features [n, H] to [n, labels]."""
        logits = ((features - self.mean) / self.scale) @ self.weight.T + self.bias
        shifted = logits - logits.max(1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return result


def fit_head(features: Array, labels: NDArray[np.int64], count: int, c: float) -> Head:
    """features [n, H]; labels [n] in 0..count-1. A label without a row gets no weight and no chance."""
    mean, scale = features.mean(0), features.std(0) + 1e-6
    present = np.unique(labels)
    weight = np.zeros((count, features.shape[1]), dtype=np.float32)
    bias = np.full(count, NEVER, dtype=np.float32)
    bias[present] = 0.0
    if len(present) > 1:
        weight[present], bias[present] = _regress((features - mean) / scale, labels, c)
    return Head(weight, bias, mean, scale)


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


def spread_layers(layers: int, count: int) -> list[int]:
    """`count` layers from the last to the first of `layers`, evenly; one is the last."""
    return sorted({round(layer) for layer in np.linspace(layers, 1, min(count, layers))})


def read_features(base: Base, texts: Sequence[str], layers: Sequence[int]) -> Array:
    """[n, layers, poolings, H] in float32: each text read once, its beginnings shared with others'."""
    tokenizer = base.renderer.tokenizer
    sequences = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    result = np.zeros((len(texts), len(layers), len(POOLINGS), base.hidden_size), dtype=np.float32)
    for index, states in base.engine.hidden_states(sequences):
        chosen = states[list(layers)].float()  # [layers, length, H]
        result[index] = torch.stack([chosen.mean(1), chosen[:, -1]], dim=1).cpu().numpy()
    return result


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
        texts = [wording(example, self.schema.instruction) for example in examples]
        features = read_features(self.base, texts, [self.layer])[:, 0, POOLINGS.index(self.pooling)]
        labels = self.schema.labels
        return [
            Prediction(example.id, labels[int(row.argmax())], dict(zip(labels, row.tolist(), strict=True)))
            for example, row in zip(examples, self.head.log_probabilities(features), strict=True)
        ]

    def save(self, folder: Path) -> None:
        tensors = {name: np.ascontiguousarray(value) for name, value in vars(self.head).items()}
        save_file(tensors, folder / "weights.safetensors")
        (folder / "probe.json").write_text(json.dumps({"layer": self.layer, "pooling": self.pooling}))

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        read: dict[str, Any] = json.loads((folder / "probe.json").read_text())
        return cls(base, schema, Head(**load_file(folder / "weights.safetensors")), **read)


def wording(example: Example, instruction: str) -> str:
    """The instruction stands last, so that its tokens have read the row."""
    return f"{example.input}\n\n{instruction}" if instruction else example.input


class LinearProbe(Method):
    name = "linear_probe"
    rung = 1.0
    summary = "a linear head on frozen, cached features"
    answers = ("label",)
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
        texts = [wording(example, data.instruction) for example in examples]
        features = read_features(base, texts, layers)
        labels = np.array([data.labels.index(example.expected) for example in examples])
        place, pooling = self._choose_features(features, labels)
        chosen = features[:, place, pooling]
        c = max(self.settings.c, key=lambda c: self._score(chosen, labels, c))
        context.log(f"linear_probe: layer {layers[place]}, {POOLINGS[pooling]} pooling, C={c:g}")
        head = fit_head(chosen, labels, len(data.labels), c)
        schema = DataSchema(data.task, data.instruction, data.labels)
        return Probe(base, schema, head, layers[place], POOLINGS[pooling])

    def _choose_features(self, features: Array, labels: NDArray[np.int64]) -> tuple[int, int]:
        """Place of the layer and of the pooling with the best cross-validated likelihood."""
        places = [(p, q) for p in range(features.shape[1]) for q in range(features.shape[2])]
        return max(places, key=lambda place: self._score(features[:, place[0], place[1]], labels, FIRST_C))

    def _score(self, features: Array, labels: NDArray[np.int64], c: float) -> float:
        largest = int(np.bincount(labels).max())
        if largest < 2:
            raise StepError("linear_probe: no label has two training rows, so nothing can be cross-validated")
        return cross_validate(features, labels, c, min(self.settings.folds, largest), self.settings.seed)
