"""Greedy decoding: the likeliest token at each step."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.decoder import Decoder, Writer
from ...core.hookspecs import hookimpl
from ...core.types import Answer, Example, Sampling


@hookimpl
def stepladder_decoders() -> Sequence[type[Decoder]]:
    return [Greedy]


class Greedy(Decoder):
    name = "greedy"

    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[Answer]:
        return [Answer(written.text, written.tokens) for (written,) in writer.write(examples, Sampling())]
