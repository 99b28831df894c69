"""Adapter folders: what a fit leaves, and the only way in which it is read again.

`adapter.json` names method, settings, base and data schema; the candidate's own files are safetensors and
JSON, and text for people alone; `manifest.json` holds the sha256 of each. Nothing in the folder can run
code, and a file that was changed, added or lost since is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError

from ..config.decoders import Named, name_and_settings, named_scorer
from ..decoder import Decoder, Judge
from ..discovery import Registry
from ..errors import ModelError
from ..files import link
from ..method import Adapted, DataSchema, Method
from ..scoring.judge import ProcessJudge
from .base import Base
from .locate import BaseRef

MANIFEST = "manifest.json"
DESCRIPTION = "adapter.json"
ALLOWED = (".safetensors", ".json", ".txt")


@dataclass(frozen=True)
class Description:
    """What adapter.json says."""

    method: str
    settings: Mapping[str, Any]
    plugin: str
    plugin_version: str
    base: str
    base_fingerprint: str
    schema: Mapping[str, Any]
    access: Mapping[str, Any] | None = None  # how a base is asked that is an endpoint

    @property
    def base_ref(self) -> BaseRef:
        """The base by what is known of it here; its path is yet to be found."""
        return BaseRef(self.base, self.base, self.base_fingerprint, access=self.access)

    @classmethod
    def read(cls, folder: Path) -> Description:
        try:
            return cls(**json.loads((folder / DESCRIPTION).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{folder}: {DESCRIPTION} does not describe a candidate: {error}") from error


def write_adapter(folder: Path, adapted: Adapted, description: Description) -> int:
    """Fill the new `folder`; returns its bytes."""
    folder.mkdir()
    adapted.save(folder)
    return _seal(folder, description)


def copy_adapter(source: Path, folder: Path, description: Description) -> int:
    """Fill the new `folder` with what was fitted in `source`, described anew; returns its bytes."""
    link(source, folder)
    for name in (DESCRIPTION, MANIFEST):
        (folder / name).unlink()
    return _seal(folder, description)


def _seal(folder: Path, description: Description) -> int:
    """Write adapter.json and the manifest; returns the bytes of all files."""
    (folder / DESCRIPTION).write_text(json.dumps(vars(description), indent=2, ensure_ascii=False))
    files = _files(folder)
    for name in files:
        assert name.endswith(ALLOWED), f"adapters hold {ALLOWED}, not {name}"
    hashes = {name: _sha256(path) for name, path in files.items()}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=2))
    return sum(path.stat().st_size for path in files.values()) + (folder / MANIFEST).stat().st_size


def verify_adapter(folder: Path) -> Description:
    """Check every file against the manifest. Raises ModelError for what is not as it was written."""
    expected = _read_manifest(folder)
    folders = {parent.as_posix() for name in expected for parent in PurePosixPath(name).parents}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {MANIFEST, *folders}
    for name in sorted(found):
        if name not in expected or not name.endswith(ALLOWED):
            raise ModelError(
                f"{folder}: {name} was not written by the fit. Only the listed .safetensors and .json files "
                "are ever read; remove it or run the fit again"
            )
    for name, digest in expected.items():
        if name not in found or _sha256(folder / name) != digest:
            raise ModelError(
                f"{folder}: {name} is missing or not what the fit wrote (sha256 expected {digest[:12]}…): "
                "run the fit again"
            )
    return Description.read(folder)


def read_adapter(folder: Path, base: Base, registry: Registry, trusted: bool = False) -> Adapted:
    """Verify and load a candidate onto its base. Raises ModelError on another base or a changed file.

    `trusted` is whether its settings are known to be those of the user's own config.
    """
    description = verify_adapter(folder)
    if description.base_fingerprint != base.ref.fingerprint:
        raise ModelError(
            f"{folder}: fitted on {description.base} ({description.base_fingerprint[:12]}), but the base "
            f"given is {base.ref.name} ({base.ref.fingerprint[:12]})"
        )
    method = build_method(description.method, description.settings, registry, trusted)
    schema = read_schema(description.schema, registry)
    try:
        return method.adapted_on(base.kind).load(folder, base, schema, method)
    except SafetensorError as error:
        raise ModelError(f"{folder}: a file is no safetensors ({error}): run the fit again") from error


@contextlib.contextmanager
def opened(folder: Path, base: Base, registry: Registry) -> Iterator[Adapted]:
    """As `read_adapter`, for a while: afterwards the base computes as before. One at a time on one base."""
    adapted = read_adapter(folder, base, registry)
    try:
        yield adapted
    finally:
        adapted.detach()


def build_method(name: str, settings: Mapping[str, Any], registry: Registry, trusted: bool = False) -> Method:
    """A method with its settings, and with the decoder that these name.

    `trusted` is whether the settings are from the user's own config, so that scorers in them may run code.
    """
    kind = registry.method(name)
    method = kind(kind.Settings(**settings))
    method.decoder = build_decoder(getattr(method.settings, "decoder", None), registry, trusted)
    return method


def build_decoder(choice: Named | None, registry: Registry, trusted: bool = False) -> Decoder | None:
    """A decoder from its name, or from {name: settings}, with the scorer that these name."""
    if choice is None:
        return None
    name, given = name_and_settings(choice)
    kind = registry.decoder(name)
    settings = kind.Settings(**given)
    scorer = named_scorer(kind, settings)
    return kind(settings, build_scorer(*scorer, registry, trusted) if scorer else None)


def build_scorer(name: str, settings: Mapping[str, Any], registry: Registry, trusted: bool = False) -> Judge:
    """Raises ModelError for one that runs code where the settings are not the user's own."""
    kind = registry.scorer(name)
    if kind.runs_code and not trusted:
        raise ModelError(
            f"its decoder is scored by {name!r}, which runs code that its settings name: nothing that a "
            "saved candidate names is ever run. It can be used in the run of its config, no further"
        )
    return ProcessJudge(kind, kind.Settings(**settings))


def read_schema(schema: Mapping[str, Any], registry: Registry) -> DataSchema:
    """A schema from its JSON form."""
    return DataSchema(registry.task(schema["task"])(), schema["instruction"], tuple(schema["labels"]))


def _read_manifest(folder: Path) -> dict[str, str]:
    try:
        hashes = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        hashes = None
    if not isinstance(hashes, dict) or not all(isinstance(digest, str) for digest in hashes.values()):
        raise ModelError(f"{folder}: no {MANIFEST}: expected the artifact folder of a candidate")
    return hashes


def _files(folder: Path) -> dict[str, Path]:
    """Every file by its path in the folder; there may be artifacts of other candidates inside."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
