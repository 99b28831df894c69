"""Candidates that answer with a linear head: a trunk, what is learned in it, and a new layer over the labels.

Where text is replayed, it goes through the base's own language head, which is kept and stays what it was for.
The new head starts at zero, so that training begins at even odds whatever the features are. It reads the mean
over a row's tokens of an encoder, and the last token, which has read all others, of a causal base.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..method import Adapted, Context, Data, DataSchema, Method, Rows, Trainable
from ..types import BaseKind, Encoded, Example, MergeReport, Prediction, Split, TrainReport
from .base import Base
from .probe import best_head
from .worded import MERGE_PROBE, attach_saved

if TYPE_CHECKING:
    from .gradient import GradientMethod

WEIGHTS = "headed.safetensors"  # not the name of weights that can be exported without their head
HEAD, TRUNK = "head.", "trunk."


@dataclass(frozen=True, slots=True)
class LabelledRow(Encoded):
    """What a head reads, and the index of the label that it must say.

    The last token, behind which that is said, counts as the one that is trained.
    """

    label: int


@dataclass(frozen=True)
class HeadStart:
    """How a head is trained before the trunk is: so many passes, at that learning rate.

    It keeps the rate later on; None is that of the trunk. A probe is the solution on the frozen features,
    found at once (Kumar et al. 2022, arXiv:2202.10054).
    """

    epochs: float = 0.0
    probe: bool = False
    learning_rate: float | None = None


class Headed(Adapted):
    """A base with a linear head, with or without learned weights attached."""

    alters_base = True

    def __init__(self, base: Base, schema: DataSchema, head: nn.Linear, trunk: Trainable) -> None:
        self.base = base
        self.schema = schema
        self.head = head
        self.trunk: Trainable | None = trunk
        self.trainable_parameters = trunk.count() + sum(map(Tensor.numel, head.parameters()))

    @torch.no_grad()
    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        said: dict[int, list[float]] = {}
        for indices, logits in head_logits(self.base, self.head, self._read(examples)):
            said.update(zip(indices, logits.log_softmax(-1).tolist(), strict=True))
        labels = self.schema.labels
        scores = [dict(zip(labels, said[index], strict=True)) for index in range(len(examples))]
        return [
            Prediction(example.id, max(labels, key=row.__getitem__), row)
            for example, row in zip(examples, scores, strict=True)
        ]

    def save(self, folder: Path) -> None:
        assert self.trunk is not None, "it is saved before it is merged"
        tensors = {HEAD + name: tensor.detach() for name, tensor in self.head.named_parameters()}
        tensors |= {TRUNK + name: tensor for name, tensor in self.trunk.tensors().items()}
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        saved = load_file(folder / WEIGHTS)
        head = zero_head(base, len(schema.labels))
        head.load_state_dict(_below(HEAD, saved))
        return cls(base, schema, head, attach_saved(_below(TRUNK, saved), folder / WEIGHTS, base, method))

    def detach(self) -> None:
        if self.trunk:
            self.trunk.detach()

    def merge(self) -> MergeReport | None:
        if self.trunk is None or self.trunk.merge is None:
            return None
        before = self._probe_logits()
        self.trunk.merge()
        self.trunk = None
        difference = (before - self._probe_logits()).abs().max()
        return MergeReport(float(difference), len(self._read([_PROBE])[0]))

    def _read(self, examples: Sequence[Example]) -> list[list[int]]:
        return self.base.read(examples, self.schema.instruction)

    @torch.no_grad()
    def _probe_logits(self) -> Tensor:
        ((_, logits),) = head_logits(self.base, self.head, self._read([_PROBE]))
        return logits


_PROBE = Example("probe", MERGE_PROBE, "")


def zero_head(base: Base, labels: int) -> nn.Linear:
    """[H] to [labels], all zero, in float32 at least."""
    dtype = torch.promote_types(base.model.dtype, torch.float32)
    head = nn.Linear(base.hidden_size, labels, device=base.device, dtype=dtype)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def pool(states: Tensor, kind: BaseKind) -> Tensor:
    """The last hidden states [length, H] of one row to [H]."""
    return states.mean(0) if kind == "encoder" else states[-1]


def pooled(base: Base, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor]]:
    """Indices of sequences with their features [n, H], one graph at a time."""
    for group in base.engine.last_states(sequences):
        indices = [index for index, _ in group]
        yield indices, torch.stack([pool(states, base.kind) for _, states in group])


@torch.no_grad()
def frozen_features(base: Base, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Features of all sequences, [n, H] in float32 on the CPU."""
    features = torch.empty(len(sequences), base.hidden_size)
    for indices, group in pooled(base, sequences):
        features[indices] = group.float().cpu()
    return features


def head_logits(
    base: Base, head: nn.Linear, sequences: Sequence[Sequence[int]]
) -> Iterator[tuple[list[int], Tensor]]:
    """Indices of sequences with their logits [n, labels], one graph at a time."""
    for indices, features in pooled(base, sequences):
        yield indices, head(features.to(head.weight.dtype))


def head_losses(head: nn.Linear, base: Base, rows: Rows) -> Iterator[tuple[Tensor, int]]:
    """Summed negative log-likelihoods (nats) of the rows' labels with their number."""
    labels = [row.label for row in rows if isinstance(row, LabelledRow)]
    assert len(labels) == len(rows), "a head is trained on rows with labels"
    for indices, logits in head_logits(base, head, [row.tokens for row in rows]):
        targets = torch.tensor([labels[index] for index in indices], device=logits.device)
        yield nn.functional.cross_entropy(logits, targets, reduction="sum"), len(indices)


def labelled_rows(base: Base, data: Data, split: Split) -> list[LabelledRow]:
    """The rows of the split as a head reads them; those with a label that train lacks teach nothing."""
    places = {label: place for place, label in enumerate(data.labels)}
    examples = [example for example in split.examples() if example.expected in places]
    return [
        LabelledRow(tokens, [False] * (len(tokens) - 1) + [True], places[example.expected])
        for example, tokens in zip(examples, base.read(examples, data.instruction), strict=True)
    ]


def fit_headed(method: GradientMethod, base: Base, data: Data, context: Context, first: HeadStart) -> Headed:
    """Train a new head, first alone where that is asked for, then together with what `method` attaches."""
    head = zero_head(base, len(data.labels))
    train, validation = (labelled_rows(base, data, split) for split in (data.train, data.validation))
    if first.probe:
        start_at_probe(head, base, train, method.settings.seed)
    reports = []
    if first.epochs:
        # Nothing is attached yet, so no gradient goes through the trunk.
        rate = first.learning_rate or method.settings.learning_rate
        alone = method.settings.model_copy(update={"epochs": first.epochs, "learning_rate": rate})
        reports.append(context.train(base, _trainable(head), train, validation, alone))
    trunk = method.start(base, data)
    together = _trainable(head, trunk, first.learning_rate)
    reports.append(context.train(base, together, train, validation, method.settings))
    kept = trunk.keep() if trunk.keep else trunk
    headed = Headed(base, DataSchema(data.task, data.instruction, data.labels), head, kept)
    headed.report = _joined(reports)
    return headed


@torch.no_grad()
def start_at_probe(head: nn.Linear, base: Base, rows: Sequence[LabelledRow], seed: int) -> None:
    """Give the head the solution of the linear probe on the same features, as they are without scaling."""
    features = frozen_features(base, [row.tokens for row in rows])
    labels = np.array([row.label for row in rows])
    probe = best_head(features.numpy(), labels, len(head.bias), seed)
    weight = probe.weight / probe.scale
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(probe.bias - weight @ probe.mean))


def _trainable(head: nn.Linear, trunk: Trainable | None = None, rate: float | None = None) -> Trainable:
    """What the loop trains: the head, and with it the trunk where that is given."""
    heads = {HEAD + name: parameter for name, parameter in head.named_parameters()}
    below = {TRUNK + name: parameter for name, parameter in trunk.parameters.items()} if trunk else {}
    own = trunk.groups if trunk else None
    groups: list[Mapping[str, Any]] = [
        *(own or [{"params": list(below.values())}]),
        {"params": list(heads.values()), **({"lr": rate} if rate else {})},
    ]
    return Trainable(
        parameters={**heads, **below},
        detach=trunk.detach if trunk else lambda: None,
        loss=partial(head_losses, head),
        groups=groups if below and (rate or own) else None,
        replays=trunk is not None and trunk.replays,
    )


def _joined(reports: Sequence[TrainReport]) -> TrainReport:
    """One report of trainings one after the other; its best step is counted from the first one's start."""
    *before, last = reports
    return TrainReport(
        steps=sum(report.steps for report in reports),
        trained_tokens=sum(report.trained_tokens for report in reports),
        train_seconds=sum(report.train_seconds for report in reports),
        best_step=sum(report.steps for report in before) + last.best_step,
        best_validation_loss=last.best_validation_loss,
        first_loss=reports[0].first_loss,
        last_loss=last.last_loss,
        replay_tokens=sum(report.replay_tokens for report in reports),
        micro_batch_size=last.micro_batch_size,
        halvings=sum(report.halvings for report in reports),
        resumed_from_step=_resumed_from(reports),
        repeated_tokens=sum(report.repeated_tokens for report in reports),
    )


def _resumed_from(reports: Sequence[TrainReport]) -> int | None:
    """The last step, counted from the first one's start, at which one of them went on."""
    starts = [0, *itertools.accumulate(report.steps for report in reports)]
    resumed = [
        start + report.resumed_from_step
        for start, report in zip(starts, reports, strict=False)
        if report.resumed_from_step is not None
    ]
    return max(resumed, default=None)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
