"""Candidates that answer with samples: a small network over vectors and their labels, and no base.

All numbers share one scale, such as the grey of pixels: the least and the greatest of the training rows are 0
and 1 to the network. A label is one-hot [labels]; one that the training rows lack is all zeros. Networks are
so small that they stay on the CPU.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from ..data.numbers import vector_as_text, vector_in
from ..errors import DataError
from ..method import Adapted, Context, Data, DataSchema, LoopSettings, Method, Rows, Trainable
from ..types import Encoded, Example, Prediction

if TYPE_CHECKING:
    from .base import Base

WEIGHTS, SHAPE = "network.safetensors", "shape.json"
DIGITS = 4  # of a sample's numbers behind the point
RECONSTRUCTION = "reconstruction_error"


@dataclass(frozen=True)
class Shape:
    """What a network is built for: how many numbers a vector and how many labels; the ends of the scale."""

    numbers: int
    labels: int
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low or 1.0

    def to_unit(self, vectors: Tensor) -> Tensor:
        """Any shape, in the rows' own units, to the network's."""
        return (vectors - self.low) / self.width

    def from_unit(self, values: Tensor) -> Tensor:
        """Any shape; what lies beyond the scale is brought to its end."""
        return values.clamp(0, 1) * self.width + self.low


@dataclass(frozen=True, slots=True)
class VectorRow(Encoded):
    """A row as a network is trained on it: values [numbers] from 0 to 1, label [labels].

    Each number counts as a trained token.
    """

    values: Tensor
    label: Tensor


class Sampler(Adapted):
    """A network that answers each example with a sample of its expected label.

    What is drawn hangs on the example's id and the method's seed alone, so that a row is answered alike
    whatever it is asked together with.
    """

    def __init__(self, method: SampleMethod, schema: DataSchema, network: nn.Module, shape: Shape) -> None:
        self.method = method
        self.schema = schema
        self.network = network
        self.shape = shape
        self.trainable_parameters = sum(map(Tensor.numel, network.parameters()))

    @torch.no_grad()
    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """An example without input, as users ask, is a label alone: nothing is told but the sample."""
        labels = one_hot(examples, self.schema.labels)
        sampled = self.shape.from_unit(self.method.sample(self.network, labels, self._draws(examples)))
        given = [place for place, example in enumerate(examples) if example.input]
        told = dict(zip(given, self._tell([examples[place] for place in given], labels[given]), strict=True))
        return [
            Prediction(example.id, _as_text(row), **told.get(place, {}))
            for place, (example, row) in enumerate(zip(examples, sampled, strict=True))
        ]

    def save(self, folder: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / SHAPE).write_text(json.dumps(asdict(self.shape)))

    @classmethod
    def load(cls, folder: Path, base: Base, schema: DataSchema, method: Method) -> Self:
        assert isinstance(method, SampleMethod), "saved by one"
        shape = Shape(**json.loads((folder / SHAPE).read_text()))
        network = method.build(shape)
        network.load_state_dict(load_file(folder / WEIGHTS))
        return cls(method, schema, network, shape)

    def _draws(self, examples: Sequence[Example]) -> list[Generator]:
        return [_generator(f"{self.method.settings.seed}:{example.id}") for example in examples]

    def _tell(self, examples: Sequence[Example], labels: Tensor) -> list[dict[str, Any]]:
        """What the network says of each of the rows themselves."""
        if not examples:
            return []
        vectors = to_vectors(examples, self.shape.numbers)
        values = self.shape.to_unit(vectors)
        told: list[dict[str, Any]] = [{} for _ in examples]
        again = self.method.reconstruct(self.network, values, labels)
        if again is not None:
            errors = (self.shape.from_unit(again) - vectors).square().mean(1)
            for row, error in zip(told, errors.tolist(), strict=True):
                row["figures"] = {RECONSTRUCTION: error}
        bounds = self.method.bound(self.network, values, labels, self._draws(examples))
        if bounds is not None:
            # Of densities: a scale that is so much wider is so much thinner in each number.
            wider = self.shape.numbers * math.log(self.shape.width)
            for row, bound in zip(told, bounds.tolist(), strict=True):
                row |= {"negative_log_likelihood": bound + wider, "tokens": self.shape.numbers}
        return told


class SampleMethod(Method):
    """A network of its own, trained by the one loop; a subclass says which, its loss, and how it samples."""

    answers = ("sample",)
    bases = ("none",)
    adapted = Sampler

    class Settings(LoopSettings):
        hidden: int = Field(128, ge=1, description="width of the two hidden layers of each network")

    settings: Settings

    @abstractmethod
    def network(self, shape: Shape) -> nn.Module:
        """Initialised by torch's own seed, which is set."""

    @abstractmethod
    def loss(self, network: Any, values: Tensor, labels: Tensor, noise: Generator) -> Tensor:
        """Summed over the rows: values [n, numbers], labels [n, labels]."""

    @abstractmethod
    def sample(self, network: Any, labels: Tensor, draws: Sequence[Generator]) -> Tensor:
        """[n, numbers] for the labels [n, labels]; each row draws from its own generator."""

    def reconstruct(self, network: Any, values: Tensor, labels: Tensor) -> Tensor | None:
        """[n, numbers]: the rows out of what the network keeps of them; None where it keeps nothing."""
        return None

    def bound(
        self, network: Any, values: Tensor, labels: Tensor, draws: Sequence[Generator]
    ) -> Tensor | None:
        """[n]: an upper bound of the rows' negative log-densities (nats); None where there is none."""
        return None

    def build(self, shape: Shape) -> nn.Module:
        """Equal settings give equal weights."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.settings.seed)
            return self.network(shape)

    def fit(self, base: Base, data: Data, context: Context) -> Adapted:
        train, validation = data.train.examples(), data.validation.examples()
        vectors = to_vectors(train)
        shape = Shape(vectors.shape[1], len(data.labels), float(vectors.min()), float(vectors.max()))
        network = self.build(shape)
        noise = Generator().manual_seed(self.settings.seed)
        trainable = Trainable(
            parameters=dict(network.named_parameters()),
            detach=lambda: None,
            loss=partial(self._losses, network, noise),
            noise=noise,
        )
        rows, held_out = (_rows(examples, shape, data.labels) for examples in (train, validation))
        report = context.train(base, trainable, rows, held_out, self.settings)
        sampler = Sampler(self, DataSchema(data.task, data.instruction, data.labels), network, shape)
        sampler.report = report
        return sampler

    def _losses(
        self, network: nn.Module, noise: Generator, base: Base, rows: Rows
    ) -> Iterator[tuple[Tensor, int]]:
        given = [row for row in rows if isinstance(row, VectorRow)]
        values = torch.stack([row.values for row in given])
        yield self.loss(network, values, torch.stack([row.label for row in given]), noise), values.numel()


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """[…, inputs] to […, outputs] through two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def to_vectors(examples: Sequence[Example], numbers: int | None = None) -> Tensor:
    """[n, numbers] in the rows' own units. Raises DataError for one of another length than the first."""
    vectors = [vector_in(example.input) for example in examples]
    expected = numbers or len(vectors[0])
    for example, vector in zip(examples, vectors, strict=True):
        if len(vector) != expected:
            raise DataError(
                f"row {example.id}: its vector has {len(vector)} numbers, expected {expected}, as many as "
                "the first training row has: all rows of a run have vectors of one length"
            )
    return torch.tensor(vectors)


def one_hot(examples: Sequence[Example], labels: Sequence[str]) -> Tensor:
    """[n, labels] of the expected answers."""
    return torch.tensor([[float(label == example.expected) for label in labels] for example in examples])


def _rows(examples: Sequence[Example], shape: Shape, labels: Sequence[str]) -> list[VectorRow]:
    if not examples:
        return []
    values = shape.to_unit(to_vectors(examples, shape.numbers))
    tokens, trained = [0] * shape.numbers, [True] * shape.numbers
    pairs = zip(values, one_hot(examples, labels), strict=True)
    return [VectorRow(tokens, trained, row, label) for row, label in pairs]


def _generator(text: str) -> Generator:
    """Seeded by the text."""
    return Generator().manual_seed(int.from_bytes(blake2b(text.encode(), digest_size=7).digest()))


def _as_text(row: Tensor) -> str:
    return vector_as_text(round(number, DIGITS) for number in row.tolist())
