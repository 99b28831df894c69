"""An export as its users load it: by the libraries it was written for, with nothing of ours in between."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .base import Base

Form = Literal["peft", "merged"]
LOADERS: dict[Form, str] = {"peft": "peft", "merged": "transformers"}


def can_load(form: Form) -> bool:
    """Whether the library that loads such an export is installed."""
    return importlib.util.find_spec(LOADERS[form]) is not None


@torch.no_grad()
def exported_logits(form: Form, folder: Path, base: Base, probes: Sequence[Sequence[int]]) -> Tensor:
    """The export's logits of each probe, one after the other, [tokens, V] in float32.

    It computes on the device and in the dtype of `base`, whose folder an adapter is loaded onto.
    """
    model = _load(form, folder, Path(base.ref.path), base.model.dtype).eval().to(base.device)
    ids = [torch.tensor(probe, device=base.device)[None] for probe in probes]
    # PEFT gives logits of learned positions too, before those of the tokens.
    return torch.cat([model(input_ids=row).logits[0, -row.shape[1] :].float() for row in ids])


def _load(form: Form, folder: Path, base: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    of = folder if form == "merged" else base
    model = AutoModelForCausalLM.from_pretrained(
        of, dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    if form == "merged":
        return model
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what libraries have to tell each other
        return PeftModel.from_pretrained(model, str(folder))
