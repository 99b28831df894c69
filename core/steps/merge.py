"""Fold a candidate's weights into its base, and say by how much the logits moved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .candidate import open_adapted, open_base, say


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    report = open_adapted(spec, open_base(spec)).merge()
    if report is None:
        return {"merged": False, "largest_logit_difference": None}
    say(f"merged: logits differ by at most {report.largest_logit_difference:.2e}")
    return {"merged": True, "largest_logit_difference": report.largest_logit_difference}
