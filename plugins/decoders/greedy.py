"""Greedy decoding: the likeliest token at each step."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.hookspecs import hookimpl
from ...core.method import Decoder, Writer
from ...core.types import Example


@hookimpl
def stepladder_decoders() -> Sequence[type[Decoder]]:
    return [Greedy]


class Greedy(Decoder):
    name = "greedy"

    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[str]:
        return writer.write(examples, temperature=0.0, top_k=None, top_p=1.0, seed=0)
