"""Takes memory block by block until it has so many bytes, and holds all of it."""

BLOCK = 50_000_000


def numpy_block():
    import numpy

    return numpy.ones(BLOCK // 8)


def torch_block():
    import torch

    return torch.ones(BLOCK // 4)


BLOCKS = {"python": lambda: b"x" * BLOCK, "numpy": numpy_block, "torch": torch_block}


def run(spec, folder):
    held = []
    while len(held) * BLOCK < spec["bytes"]:
        held.append(BLOCKS[spec["what"]]())
    return {"blocks": len(held)}
