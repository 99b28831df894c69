"""Load an export as its users do, and tell by how much it differs from the candidate it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..discovery import discover
from ..model.adapter import read_adapter
from ..model.base import load_base
from ..model.exported import LOADERS, can_load, exported_logits
from ..model.locate import BaseRef
from ..model.worded import merge_probes

Json = dict[str, Any]


def run(spec: Mapping[str, Any], folder: Path) -> Json:
    """`spec`: format, export (folder), artifact (folder), base (as JSON).

    Returns {"loaded_by", "largest_logit_difference", "largest_difference_to_base", "tokens"}; "loaded_by" is
    None where the library that loads such an export is not installed, and the others with it.
    """
    form = spec["format"]
    if not can_load(form):
        return dict.fromkeys(
            ("loaded_by", "largest_logit_difference", "largest_difference_to_base", "tokens")
        )
    base = load_base(BaseRef(**spec["base"]))
    probes = merge_probes(base)
    untouched = base.engine.probe_logits(probes)
    read_adapter(Path(spec["artifact"]), base, discover())
    candidate = base.engine.probe_logits(probes)
    exported = exported_logits(form, Path(spec["export"]), base, probes)
    return {
        "loaded_by": f"{LOADERS[form]} {version(LOADERS[form])}",
        "largest_logit_difference": float((exported - candidate).abs().max()),
        "largest_difference_to_base": float((exported - untouched).abs().max()),
        "tokens": len(exported),
    }
