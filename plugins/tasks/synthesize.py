"""Synthesis: new vectors of a label, such as images of a digit, like those of the rows and none of them.

A row's vector is its input, which a candidate may also be asked to reconstruct; its label, the expected
answer, is the one of which a sample is asked.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.data.fields import required_label, required_vector
from ...core.data.numbers import vector_as_text, vector_in
from ...core.hookspecs import hookimpl
from ...core.method import Style, Task
from ...core.types import Example, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float64]

SHOWN = 10  # labels of a picture, and samples of each
ENLARGED = 4


@hookimpl
def stepladder_tasks() -> Sequence[type[Task]]:
    return [Synthesize]


class Synthesize(Task):
    """All numbers share one scale, such as the grey of pixels; nothing is asked in words."""

    name = "synthesize"
    summary = "make new vectors of each label, like those of the rows"
    columns: ClassVar[Mapping[str, str]] = {
        "vector": "a list of numbers, all rows' of one length",
        "label": "what it is of",
    }
    answering = "sample"
    metrics = (
        "acceptance",
        "frechet_distance",
        "diversity",
        "reconstruction_error",
        "evidence_bound",
    )
    chooses_by = "acceptance"

    def example(self, row_id: str, fields: Mapping[str, Any]) -> Example:
        vector = vector_as_text(required_vector(fields, "vector"))
        return Example(row_id, vector, required_label(fields, "label"))

    def labels(self, expected: Iterator[str]) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted(set(expected)))

    def question(self, example: Example, style: Style, instruction: str, labels: Sequence[str]) -> str:
        return ""

    def picture(self, records: Sequence[Record]) -> bytes | None:
        """A row of samples for each label, where vectors are square images; white is the greatest number."""
        import numpy as np

        rows = [[vector_in(record.predicted) for record in each] for each in _by_label(records)]
        side = math.isqrt(len(rows[0][0]))
        if side < 2 or any(len(vector) != side**2 for row in rows for vector in row):
            return None
        given = np.array([vector_in(record.input) for record in records])
        drawn = np.full((len(rows), SHOWN, side, side), given.min())
        for place, row in enumerate(rows):
            drawn[place, : len(row)] = np.array(row).reshape(-1, side, side)
        return _png(drawn, float(given.min()), float(given.max()))


def _by_label(records: Sequence[Record]) -> list[list[Record]]:
    """The first records of the first labels."""
    labels = sorted({record.expected for record in records})[:SHOWN]
    return [list(islice((each for each in records if each.expected == label), SHOWN)) for label in labels]


def _png(images: Vectors, low: float, high: float) -> bytes:
    """images [rows, columns, side, side] side by side, a pixel apart."""
    import numpy as np
    from PIL import Image

    grey = np.clip((images - low) / (high - low or 1) * 255, 0, 255)
    apart = np.pad(grey, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=128)
    rows, columns, height, width = apart.shape
    sheet = apart.transpose(0, 2, 1, 3).reshape(rows * height, columns * width).astype(np.uint8)
    image = Image.fromarray(sheet).resize(
        (columns * width * ENLARGED, rows * height * ENLARGED), Image.Resampling.NEAREST
    )
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()
