"""The text of a new method's package: small, whole, and passing its own test as it is written."""

from __future__ import annotations

from pathlib import Path
from string import Template

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$distribution"
version = "0.1"
description = "A method for Stepladder: $name."
requires-python = ">=3.11"
dependencies = ["stepladder"]

[project.entry-points."stepladder.plugins"]
$name = "$module"

[tool.setuptools]
py-modules = ["$module"]
"""

METHOD = '''\
"""$name: what it does, in one sentence.

Author et al. year, "Title", arXiv:0000.00000: the sections and equations that are followed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from stepladder.core.hookspecs import hookimpl
from stepladder.core.method import Method, Trainable
from stepladder.core.model.gradient import GradientMethod
from torch import Tensor, nn

STEPLADDER_API = 1


@hookimpl
def stepladder_methods() -> Sequence[type[Method]]:
    return [$method]


class $method(GradientMethod):
    name = "$name"
    rung = $rung
    summary = "a learned vector added to the embedding of every token"
    answers = ("label", "choose", "generate", "number", "likelihood")

    class Settings(GradientMethod.Settings):
        learning_rate: float = Field(1e-2, gt=0)

    settings: Settings

    def attach(self, model: Any) -> Trainable:
        """To be replaced: what is learned, where it is attached, and what takes it off again."""
        embedding = model.get_input_embeddings()
        shift = nn.Parameter(torch.zeros(embedding.weight.shape[1], device=embedding.weight.device))  # [H]

        def add(_layer: nn.Module, _inputs: Any, embedded: Tensor) -> Tensor:
            """embedded [..., H]."""
            return embedded + shift.to(embedded.dtype)

        return Trainable({"shift": shift}, detach=embedding.register_forward_hook(add).remove)
'''

TEST = '''\
"""$name: where it starts, and how it comes off. To be added: that it computes what it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from $module import $method
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

TINY = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, **TINY)).eval().requires_grad_(False)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model(input_ids=torch.tensor([[5, 9, 60, 31]])).logits


def test_it_starts_at_the_base_is_used_and_comes_off(model: Any) -> None:
    before = logits(model)
    trainable = $method($method.Settings()).attach(model)
    assert trainable.count() > 0
    assert torch.equal(logits(model), before)
    for parameter in trainable.parameters.values():
        parameter.data += 0.1
    assert not torch.allclose(logits(model), before, atol=1e-3)
    trainable.detach()
    assert torch.equal(logits(model), before)


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="unheard_of"):
        $method.Settings(unheard_of=1)
'''


def write_package(folder: Path, name: str, rung: float) -> list[Path]:
    """Write the package of a method into `folder`, which is made; returns its files."""
    module = f"stepladder_{name}"
    words = {
        "name": name,
        "module": module,
        "distribution": module.replace("_", "-"),
        "method": "".join(word.capitalize() for word in name.split("_")),
        "rung": f"{rung:g}",
    }
    files = {"pyproject.toml": PROJECT, f"{module}.py": METHOD, f"test_{module}.py": TEST}
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(Template(text).substitute(words))
    return [folder / file for file in files]
