"""The base's perplexity on the retain text, before any method has touched it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evaluation.retention import measure_retention, read_retain_text
from .candidate import open_base, say


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    text = read_retain_text(Path(spec["config"]["retain"]["text"]))
    retention = measure_retention(open_base(spec), text)
    say(f"perplexity {retention.perplexity:.2f} over {retention.tokens} tokens")
    return asdict(retention)
