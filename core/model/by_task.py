"""Candidates that hold weights for each task of a family, with a head over that task's own labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, Self, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..data.episodes import rows_by_task
from ..errors import DataError, did_you_mean
from ..method import Adapted, DataSchema, Method
from ..types import Example, Prediction
from .base import Base
from .features import Features, Weights
from .probe import NEVER

WEIGHTS, TASKS = "by_task.safetensors", "tasks.json"  # weights that cannot be exported alone
HEAD_WEIGHT, HEAD_BIAS = "head.weight", "head.bias"


class MakesFeatures(Protocol):
    """A method that can say again what makes its features."""

    def features(self, base: Base) -> Features: ...


@dataclass(frozen=True)
class Solved:
    """A task's labels, and the weights that answer it, head included."""

    labels: tuple[str, ...]
    weights: Weights


def head_logits(weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """[n, F] to [n, labels]."""
    return nn.functional.linear(features, weights[HEAD_WEIGHT], weights[HEAD_BIAS])


def prototype_head(features: Tensor, labels: Tensor, count: int, sharpness: float) -> Weights:
    """The head whose logits are -sharpness |x - c|^2, less what they have in common; c is a label's mean.

    features [n, F], labels [n] of `count`. Snell et al. 2017, arXiv:1703.05175, §2.4.
    """
    of = labels.to(features.device)[:, None] == torch.arange(count, device=features.device)  # [n, labels]
    centres = of.to(features.dtype).T @ features / of.sum(0)[:, None]
    return {HEAD_WEIGHT: 2 * sharpness * centres, HEAD_BIAS: -sharpness * centres.square().sum(1)}


class ByTask(Adapted):
    """An initialisation, and by task what it has become: a row is answered by the weights of its task."""

    def __init__(
        self, base: Base, schema: DataSchema, features: Features, initial: Weights, solved: dict[str, Solved]
    ) -> None:
        self.base = base
        self.schema = schema
        self.features = features
        self.initial = initial
        self.solved = solved
        self.trainable_parameters = sum(map(Tensor.numel, initial.values()))

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Raises DataError for a row of a task that there were no training rows of."""
        for example in examples:
            self._require_solved(example)
        rows = self.features.read(self.base.read(examples, self.schema.instruction))
        said: dict[int, Prediction] = {}
        for task, by_label in rows_by_task(examples).items():
            indices = list(chain.from_iterable(by_label.values()))
            solved, picked = self.solved[task], self.features.pick(rows, indices)
            logits = head_logits(solved.weights, self.features.of(solved.weights, picked))
            for index, scores in zip(indices, logits.log_softmax(-1).tolist(), strict=True):
                said[index] = self._say(examples[index], dict(zip(solved.labels, scores, strict=True)))
        return [said[index] for index in range(len(examples))]

    def _say(self, example: Example, scores: Mapping[str, float]) -> Prediction:
        """Labels of other tasks have no chance."""
        every = {label: scores.get(label, NEVER) for label in self.schema.labels}
        return Prediction(example.id, max(scores, key=scores.__getitem__), every)

    def _require_solved(self, example: Example) -> None:
        if example.task not in self.solved:
            near = did_you_mean(example.task, self.solved)
            raise DataError(
                f"row {example.id} is of the task {example.task!r}{near}, of which there were no training "
                f"rows to adapt to: expected one of {', '.join(self.solved)}; give it rows under data.train"
            )

    def save(self, folder: Path) -> None:
        parts = {"initial": self.initial, "fixed": self.features.fixed}
        parts |= {str(place): solved.weights for place, solved in enumerate(self.solved.values())}
        tensors = {
            f"{part}/{name}": weight.contiguous()
            for part, weights in parts.items()
            for name, weight in weights.items()
        }
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        tasks = [{"task": task, "labels": solved.labels} for task, solved in self.solved.items()]
        (folder / TASKS).write_text(json.dumps(tasks, indent=2, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        features = cast("MakesFeatures", method).features(base)
        parts: dict[str, Weights] = {}
        for name, tensor in load_file(folder / WEIGHTS).items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor.to(features.device)
        features.fixed = parts.get("fixed", {})
        tasks = json.loads((folder / TASKS).read_text(encoding="utf-8"))
        solved = {
            each["task"]: Solved(tuple(each["labels"]), parts[str(place)]) for place, each in enumerate(tasks)
        }
        return cls(base, schema, features, parts["initial"], solved)
