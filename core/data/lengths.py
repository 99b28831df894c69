"""How long a row may be, in tokens, and what happens to a longer one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bases import read_model_config
from ..errors import RowFault
from ..types import Encoded

CONTEXT_KEYS = ("max_position_embeddings", "n_positions")
DEFAULT_CONTEXT = 2048


@dataclass(frozen=True)
class LengthPolicy:
    """At most `limit` tokens a row; a longer one is cut where `truncate` is set, and left out otherwise."""

    limit: int
    truncate: bool

    def fit(self, rendered: Encoded | RowFault) -> Encoded:
        """The row within the limit. Raises RowFault where it cannot be, or where it already is one.

        Cut is the end, tokens and mask alike: what stands before an answer stays as it is served, and
        a row that lost the end of its answer does not teach the model to stop there.
        """
        if isinstance(rendered, RowFault):
            raise rendered
        length = len(rendered.tokens)
        if length <= self.limit:
            return rendered
        if not self.truncate:
            raise RowFault(f"{length} tokens, over the limit of {self.limit}")
        cut = Encoded(rendered.tokens[: self.limit], rendered.trained[: self.limit])
        if any(rendered.trained) and not any(cut.trained):
            raise RowFault(f"{length} tokens, of which the first {self.limit} hold nothing to train")
        return cut


def length_policy(data: Mapping[str, Any], base: Path) -> LengthPolicy:
    """From the config's `data`; without a limit there, and at most, what the base reads at once."""
    context = context_length(base)
    limit = min(data.get("max_length") or context, context)
    return LengthPolicy(limit, truncate=data.get("too_long") == "truncate")


def context_length(base: Path) -> int:
    """The most tokens that the base in this folder was made to read."""
    return context_of(read_model_config(base))


def context_of(model: Mapping[str, Any]) -> int:
    """The same, by the base's config.json."""
    # Models that also see or hear keep what concerns text apart.
    text = {**model, **model.get("text_config", {})}
    return next((text[key] for key in CONTEXT_KEYS if text.get(key)), DEFAULT_CONTEXT)
