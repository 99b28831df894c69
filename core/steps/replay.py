"""Step `replay`: ordinary text as the tokens that are trained beside the rows of the task.

Of a file, whose text is only tokenized: no weights are loaded. Or of the base itself, which writes it here,
once for all candidates, so that each of them, and a run that is resumed, is given the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.schema import SELF
from ..data.lengths import context_length
from ..data.texts import read_texts
from ..errors import DataError, RowFault
from ..model.writing import write_texts
from ..tokenizer import Renderer
from ..training.replay import pieces, save_rows
from ..types import Encoded
from .candidate import open_base, say

ROWS = "replay.jsonl"
# A batch reads its row from the beginning, however few of its tokens it trains: so rows are short.
ROW_TOKENS = 128
OWN_TEXTS = 64
MOST_ROWS = 8192
BATCH_TEXTS = 256
SEED = 0


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Raises DataError for a text of which no token can be trained."""
    source, base = spec["config"]["replay"]["source"], Path(spec["base"]["path"])
    length = min(ROW_TOKENS, context_length(base) // 2)
    if source == SELF:
        rows = write_texts(open_base(spec), OWN_TEXTS, length, SEED)
    else:
        rows = _rows_of(Path(source), base, length)
    save_rows(folder / ROWS, rows)
    tokens = sum(sum(row.trained) for row in rows)
    say(f"{tokens} tokens in {len(rows)} rows to replay")
    return {"rows": len(rows), "tokens": tokens}


def _rows_of(path: Path, base: Path, length: int) -> list[Encoded]:
    """The rows of a file, the first MOST_ROWS of them."""
    from transformers import AutoTokenizer

    texts = read_texts(path, "replay.source")
    renderer = Renderer(AutoTokenizer.from_pretrained(str(base), trust_remote_code=False))
    rows: list[Encoded] = []
    faults: list[RowFault] = []
    for start in range(0, len(texts), BATCH_TEXTS):
        for each in renderer.texts(texts[start : start + BATCH_TEXTS]):
            if isinstance(each, RowFault):
                faults.append(each)
            else:
                rows += pieces(each, length)
        if len(rows) >= MOST_ROWS:
            break
    if not rows:
        why = f" (the first: {faults[0]})" if faults else ""
        raise DataError(
            f"replay.source: {path}: no token to train on in its {len(texts)} texts{why}: expected ordinary "
            'text, as lines such as {"text": "..."}, or `source: self` for text that the base itself writes'
        )
    if faults:
        say(f"{len(faults)} of {len(texts)} texts are left out (the first: {faults[0]})")
    return rows[:MOST_ROWS]
