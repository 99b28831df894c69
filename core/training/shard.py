"""A base whose weights are all trained, in shards: a process holds a part of each weight, of its gradient, of
the optimizer's moments and of the best weights so far, and needs so much less memory.

By PyTorch's `fully_shard` (Zhao et al. 2023, "PyTorch FSDP", arXiv:2304.11277, section 3; its second version
cuts single parameters): a layer's weights are whole only while it computes. It wants tree, head and loss in
one module's forward, and the same forwards in the same order from all processes, which have different rows:
who has none left computes a spare one, whose loss counts for nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from ..method import Rows, Trainable
from ..types import Encoded
from . import together

if TYPE_CHECKING:
    from ..model.base import Base

Loss = tuple[Tensor, int]


def can_shard(base: Base, trainable: Trainable) -> bool:
    """Whether it is the base's own weights that are trained, all of them, by the language head."""
    learned = {id(each) for each in trainable.parameters.values()}
    own = {id(each) for each in base.model.parameters()}
    return base.kind == "causal" and learned == own and not (trainable.loss or trainable.groups)


@contextmanager
def sharded(base: Base, trainable: Trainable, rows: Rows) -> Iterator[tuple[Base, Trainable]]:
    """Base and trainable of this process's shards; afterwards the own ones hold what these have learned."""
    together.make_equal(trainable.tensors().values())
    model = _second(base.model)
    whole = _shard(model, base.device.type)
    shards = dict(model.named_parameters())
    device = base.device
    for own in trainable.parameters.values():  # of no use meanwhile
        own.data = own.data.cpu()
    spare = min(rows, key=lambda row: len(row.tokens))
    engine: Any = ShardedEngine(whole, type(base.engine)(model, base.engine.max_tokens), spare)
    learned = {name: shards[name] for name in trainable.parameters}
    yield replace(base, model=model, engine=engine), replace(trainable, parameters=learned)
    for name, own in trainable.parameters.items():
        shard = learned[name]
        assert isinstance(shard, DTensor), "each weight was cut"
        own.data = shard.detach().full_tensor().to(device)  # type: ignore[attr-defined]


class Whole(nn.Module):
    """Whatever the model is asked for, as one forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Loss | None]) -> Loss | None:
        return compute()


class ShardedEngine:
    """The losses of an engine whose model is in shards. It must be asked equally often in all processes."""

    def __init__(self, whole: Any, engine: Any, spare: Encoded) -> None:
        self._whole = whole
        self._engine = engine
        self._spare = spare
        self._has_rows = True
        engine.model.base_model.register_forward_pre_hook(self._meet)

    def losses(self, rows: Sequence[Encoded]) -> Iterator[Loss]:
        """As those of any engine, and one of no tokens for each forward that only others had rows for."""
        own = self._engine.losses(rows)
        while loss := self._whole(lambda: self._next(own)):
            yield loss
        self._whole.reshard()  # what the last forward has gathered would be used again, however old

    def _next(self, own: Iterator[Loss]) -> Loss | None:
        """None once no process has rows left."""
        loss = next(own, None)
        if loss or not together.anywhere(False):
            return loss
        self._has_rows = False
        ((loss, _),) = self._engine.losses([self._spare])
        self._has_rows = True
        return loss * 0, 0

    def _meet(self, *_: Any) -> None:
        """Before the layers: tell those who have no rows left that there is a forward to take part in."""
        if self._has_rows:
            together.anywhere(True)


def _second(model: nn.Module) -> nn.Module:
    """The same modules once more, with the same tensors in them."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(each): each for each in tensors})


def _shard(model: nn.Module, device: str) -> Whole:
    """Cut the weights, layer by layer; gradients are summed over the processes, not averaged."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    whole, mesh = Whole(model), init_device_mesh(device, (together.processes(),))
    layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    for module in (*layers, whole):
        part = fully_shard(module, mesh=mesh)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    return whole
