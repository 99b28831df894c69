"""Linear heads that are fitted to features at once: softmax regression, with its strength cross-validated.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
arXiv:1610.01644. The problem is convex (scikit-learn's L-BFGS from zero), so nothing depends on a seed but
the folds.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from ..errors import StepError
from ..types import Example, Prediction

NEVER = -1e4  # the score of a label without rows: no chance, and yet a number that JSON can hold
STRENGTHS = (0.01, 0.1, 1.0)  # inverse strengths of L2 regularisation
FOLDS = 4
Array = NDArray[np.float32]
Numbers = NDArray[np.float64]


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


def best_head(features: Array, labels: NDArray[np.int64], count: int, seed: int) -> LabelHead:
    """features [n, H]; labels [n] in 0..count-1. The one of the usual strengths is taken that folds favour.

    Raises StepError where no label has two rows.
    """
    largest = int(np.bincount(labels).max())
    if largest < 2:
        raise StepError("no label has two training rows, so nothing can be cross-validated")
    folds = min(FOLDS, largest)
    c = max(STRENGTHS, key=lambda c: cross_validate(features, labels, c, folds, seed))
    return fit_head(features, labels, count, c)


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
