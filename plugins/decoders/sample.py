"""Sampling: one draw from the model's distribution, with temperature, top-k and top-p.

Nucleus sampling (top-p): Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration",
arXiv:1904.09751, §3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ...core.decoder import Decoder, Writer
from ...core.hookspecs import hookimpl
from ...core.types import Answer, Example, Sampling


@hookimpl
def stepladder_decoders() -> Sequence[type[Decoder]]:
    return [Sample]


class Sample(Decoder):
    name = "sample"

    class Settings(Decoder.Settings):
        temperature: float = Field(0.7, ge=0, description="0 is greedy")
        top_k: int | None = Field(None, ge=1, description="draw among so many likeliest tokens")
        top_p: float = Field(0.95, gt=0, le=1, description="draw among the likeliest tokens of this mass")
        seed: int = 0

    settings: Settings

    def decode(self, writer: Writer, examples: Sequence[Example]) -> list[Answer]:
        sampling = Sampling(**self.settings.model_dump())
        return [Answer(written.text, written.tokens) for (written,) in writer.write(examples, sampling)]
