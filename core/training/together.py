"""Several processes that train one candidate: who each is, which rows are its own, and what they sum.

Each knows the whole plan and the whole batch, and computes on its share of the rows. Gradients are summed,
not averaged, since each part's loss is divided by the trained tokens of the whole batch: so the step is that
of one process, but for the order of the sums. A process alone exchanges nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from ..types import Encoded


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Of this process; the one of rank 0 alone writes, and tells how it goes."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(rows: Sequence[Encoded]) -> Sequence[Encoded]:
    """The rows of this process: sorted by length, dealt there and back, so that all have as many tokens."""
    number = processes()
    if number == 1:
        return rows
    longest_first = sorted(rows, key=lambda row: -len(row.tokens))
    dealt = itertools.cycle([*range(number), *reversed(range(number))])
    return [row for row, place in zip(longest_first, dealt, strict=False) if place == rank()]


def largest_share(rows: int) -> int:
    """How many of so many rows a process is dealt at most."""
    return -(-rows // processes())


def total(*values: float) -> list[float]:
    """The sum of each over all processes, the same in all of them."""
    if processes() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(summed)
    return [float(each) for each in summed]


def anywhere(said: bool) -> bool:
    """Whether one process says so at least."""
    return total(float(said))[0] > 0


def of_first(value: int) -> int:
    """What the first process gives, in all."""
    return int(total(float(value) if rank() == 0 else 0.0)[0])


def in_shards(tensors: Iterable[Tensor]) -> bool:
    """Whether each process holds a part of these alone (see shard.py)."""
    return any(isinstance(each, DTensor) for each in tensors)


@torch.no_grad()
def make_equal(tensors: Iterable[Tensor]) -> None:
    """Give all processes what the first one holds; shards, which differ, stay as they are."""
    if processes() == 1:
        return
    for tensor in tensors:
        if not isinstance(tensor, DTensor):
            dist.broadcast(tensor, src=0)


@torch.no_grad()
def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum those of each parameter over all processes, in one exchange for each dtype.

    Those of shards are summed already. A parameter without a gradient in any process has none afterwards.
    """
    if processes() == 1:
        return
    replicated = [each for each in parameters if not isinstance(each, DTensor)]
    for dtype in sorted({each.dtype for each in replicated}, key=str):
        _sum_gradients([each for each in replicated if each.dtype == dtype])


def _sum_gradients(parameters: Sequence[Tensor]) -> None:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    used = gradients[0].new_tensor([p.grad is not None for p in parameters])  # [parameters]
    flat = torch.cat([*(each.flatten() for each in gradients), used])
    dist.all_reduce(flat)
    sizes = [*(p.numel() for p in parameters), len(parameters)]
    *summed, used = flat.split(sizes)  # type: ignore[no-untyped-call]
    for parameter, gradient, uses in zip(parameters, summed, used.tolist(), strict=True):
        parameter.grad = gradient.view_as(parameter) if uses else None


@torch.no_grad()
def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors in the memory of the first process, which writes them; nothing in that of the others."""
    whole = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if rank() == 0:
            whole[name] = full.cpu()
    return whole


def laid_out_as(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor as `like` lies: on its device, in shards if that is. One of another shape is no weight."""
    if tensor.shape != like.shape:
        return tensor
    tensor = tensor.to(like.device)
    if isinstance(tensor, DTensor) or not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _device() -> torch.device:
    """Where what is exchanged must lie."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
