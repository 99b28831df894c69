"""What a training has come to: all that its checkpoints hold, and how it is put back.

Not among it is what follows from the settings and the step alone: the order of the rows, the learning rate,
and which text is replayed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..method import Trainable
from . import together
from .batch import Step
from .checkpoint import Snapshot
from .memory import MicroBatch

Json = dict[str, Any]
MOMENTS = "optimizer-"


@dataclass
class Standing:
    """The counts so far, of the rows without what was replayed where that is not said."""

    step: int = 0
    tokens: int = 0
    replayed: int = 0
    first_loss: float = math.nan
    last_loss: float = math.nan
    seconds: float = 0.0
    finished: bool = False

    def add(self, done: Step) -> None:
        self.first_loss = done.loss if self.step == 0 else self.first_loss
        self.last_loss = done.loss
        self.step += 1
        self.tokens += done.tokens
        self.replayed += done.replay_tokens


@dataclass
class Best:
    """The weights of the lowest validation loss so far."""

    step: int = 0
    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)
    since: int = 0

    def offer(self, step: int, loss: float, trainable: Trainable) -> None:
        if loss < self.loss:
            self.step, self.loss, self.since = step, loss, 0
            self._keep(trainable)
        else:
            self.since += 1

    def _keep(self, trainable: Trainable) -> None:
        """In the memory of those kept before, since all weights of a base may be trained."""
        kept = self.weights
        for name, p in trainable.parameters.items():
            kept[name] = kept[name].copy_(p.detach()) if name in kept else p.detach().clone()


@dataclass
class State:
    """A training under way."""

    trainable: Trainable
    optimizer: torch.optim.Optimizer
    micro: MicroBatch
    standing: Standing = field(default_factory=Standing)
    best: Best = field(default_factory=Best)

    def snapshot(self) -> Snapshot:
        """Of a finished training: without what only more training would need."""
        standing, best, micro = self.standing, self.best, self.micro
        values = {
            **asdict(standing),
            "best": {"step": best.step, "loss": best.loss, "since": best.since},
            "micro": {"size": micro.size, "halvings": micro.halvings},
            "random": plain_random_states(),
        }
        tensors: dict[str, Mapping[str, Tensor]] = {
            "weights": dict(self.trainable.parameters),
            "random": random_states(self.trainable),
        }
        if not standing.finished:
            tensors |= {"best": best.weights, **optimizer_tensors(self.optimizer, self.trainable)}
        if self.trainable.each_step:
            tensors["each_step"] = dict(self.trainable.each_step.tensors())
        whole = {group: together.gathered(each) for group, each in tensors.items()}
        return Snapshot(standing.step, values, whole)

    def restore(self, snapshot: Snapshot) -> None:
        values = dict(snapshot.values)
        best, micro, plain = (values.pop(name) for name in ("best", "micro", "random"))
        self.standing = Standing(**values)
        self.micro.size, self.micro.halvings = micro["size"], micro["halvings"]
        self.put_in_place(snapshot.tensors["weights"])
        self.best = Best(weights=self._laid_out(snapshot.tensors.get("best", {})), **best)
        if not self.standing.finished:
            load_optimizer(self.optimizer, self.trainable, snapshot.tensors)
        if self.trainable.each_step:
            self.trainable.each_step.restore(snapshot.tensors.get("each_step", {}))
        set_random_states(plain, snapshot.tensors["random"], self.trainable)

    @torch.no_grad()
    def put_in_place(self, weights: Mapping[str, Tensor]) -> None:
        """Let the trainable hold these weights."""
        for name, weight in self._laid_out(weights).items():
            self.trainable.parameters[name].copy_(weight)

    def _laid_out(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parameters = self.trainable.parameters
        return {name: together.laid_out_as(weight, parameters[name]) for name, weight in weights.items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer, trainable: Trainable) -> dict[str, dict[str, Tensor]]:
    """`optimizer-<what>` → the tensor of each parameter, by its name."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, parameter in trainable.parameters.items():
        for what, tensor in optimizer.state.get(parameter, {}).items():
            assert isinstance(tensor, Tensor), f"the optimizer's {what} is kept as a tensor"
            groups.setdefault(f"{MOMENTS}{what}", {})[name] = tensor
    return groups


def load_optimizer(
    optimizer: torch.optim.Optimizer, trainable: Trainable, tensors: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Put back what `optimizer_tensors` gave, on each parameter's device."""
    parameters = trainable.parameters
    names = {id(parameter): name for name, parameter in parameters.items()}
    groups = {key.removeprefix(MOMENTS): value for key, value in tensors.items() if key.startswith(MOMENTS)}
    ordered = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    state = {
        place: {
            what: together.laid_out_as(values[name], parameters[name])
            for what, values in groups.items()
            if name in values
        }
        for place, name in enumerate(ordered)
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_states(trainable: Trainable) -> dict[str, Tensor]:
    """Of torch's generators, and of the one that the loss draws from."""
    states = {"torch": torch.get_rng_state()}
    if trainable.noise is not None:
        states["noise"] = trainable.noise.get_state()
    if torch.cuda.is_available():
        states |= {f"cuda-{device}": each for device, each in enumerate(torch.cuda.get_rng_state_all())}
    return states


def plain_random_states() -> Json:
    """Of Python's generator and of numpy's, as JSON."""
    name, keys, *rest = np.random.get_state()
    return {"python": random.getstate(), "numpy": [name, np.asarray(keys).tolist(), *rest]}


def set_random_states(plain: Json, states: Mapping[str, Tensor], trainable: Trainable) -> None:
    version, keys, gauss = plain["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(plain["numpy"]))
    torch.set_rng_state(states["torch"])
    if trainable.noise is not None:
        trainable.noise.set_state(states["noise"])
    for device in range(torch.cuda.device_count()):
        if f"cuda-{device}" in states:
            torch.cuda.set_rng_state(states[f"cuda-{device}"], device)
