"""A base of 4-bit weights: what is learned beside them, and what cannot be."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from stepladder.core.bases import quantisation, read_model_config
from stepladder.core.config.kinds import Footing
from stepladder.core.model.base import Base, load_base
from stepladder.core.model.engine import PlainEngine, TreeEngine
from stepladder.core.model.locate import BaseRef
from stepladder.core.types import Encoded
from stepladder.plugins.methods.full import Full
from stepladder.plugins.methods.lora import Lora
from stepladder.plugins.methods.peft import Peft

QUANTISED = {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes"}}
ROWS = [
    Encoded([5, 9, 60, 31, 7, 22], [False] * 3 + [True] * 3),
    Encoded([5, 9, 41, 3, 90], [False] * 2 + [True] * 3),
]
needs_library = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra `quantised`"
)


def test_what_needs_the_weights_themselves_is_refused():
    assert quantisation(QUANTISED) == "bitsandbytes" and not quantisation({"model_type": "llama"})
    assert "use lora" in str(Full.base_fault(Full.Settings(), QUANTISED))
    for settings in (Lora.Settings(dora=True), Lora.Settings(initial="pissa")):
        assert "need the weights themselves" in str(Lora.base_fault(settings, QUANTISED))
    assert Lora.base_fault(Lora.Settings(), QUANTISED) is None


def test_without_the_library_it_says_how_to_get_it(registry, monkeypatch):
    monkeypatch.setattr("stepladder.core.config.kinds.find_spec", lambda name: None)
    (fault,) = Footing.on("small-4bit", QUANTISED, "classify", registry).faults([], {})
    assert (fault.place, fault.text) == (
        "base",
        "small-4bit is quantised: pip install 'stepladder[quantised]'",
    )


@pytest.fixture
def quantised(base_folder: Path, on_the_cpu: None, tmp_path: Path, word_tokenizer: Any) -> Base:
    """The tiny base in 4 bits, saved and loaded as any base."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    AutoModelForCausalLM.from_pretrained(
        base_folder, quantization_config=config, dtype=torch.float32
    ).save_pretrained(tmp_path)
    word_tokenizer.save_pretrained(tmp_path)
    return load_base(BaseRef("tiny-4bit", str(tmp_path), "4" * 64))


@needs_library
@pytest.mark.parametrize("method", [Lora(Lora.Settings()), Peft(Peft.Settings())], ids=["lora", "peft"])
def test_adapters_are_learned_beside_four_bits(method: Any, quantised: Base):
    folder = Path(quantised.ref.path)
    assert quantisation(read_model_config(folder)) == "bitsandbytes"
    packed = [p for p in quantised.model.parameters() if p.dtype == torch.uint8]
    assert len(packed) == 3 * 7
    before = [each.clone() for each in packed]
    trainable = method.attach(quantised.model)
    assert trainable.merge is None, "nothing can be folded into four bits exactly"
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    assert isinstance(quantised.engine, TreeEngine)
    shared = sum(loss for loss, _ in quantised.engine.losses(ROWS))
    alone = sum(loss for loss, _ in PlainEngine(quantised.model, 1000).losses(ROWS))
    assert float(shared.detach()) == pytest.approx(float(alone.detach()), rel=1e-5)
    shared.backward()
    assert all(parameter.grad.any() for parameter in trainable.parameters.values())
    assert all(torch.equal(each, was) for each, was in zip(packed, before, strict=True))
