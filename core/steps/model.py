"""A fitted model as the user names it: a registered version, or the artifact folder of a candidate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..model.adapter import DESCRIPTION, MANIFEST, Description
from ..model.locate import BaseRef
from ..package.layout import ARTIFACT, SERVED, check_manifest, read_json, read_train_keys
from ..tracking.client import connect
from ..tracking.versions import Version, download, find, is_reference


@dataclass(frozen=True)
class Model:
    """A fitted model on this machine. `name` is as the user knows it.

    `train` [inputs] are the keys of the rows it was trained on. It and `version` are None for an artifact
    folder, which nobody has registered.
    """

    name: str
    artifact: Path
    base: BaseRef
    version: Version | None = None
    train: npt.NDArray[np.uint64] | None = None

    @property
    def description(self) -> Description:
        return Description.read(self.artifact)

    @property
    def method(self) -> str:
        return self.description.method

    @property
    def short_name(self) -> str:
        """Good as a part of a folder's name."""
        return f"{self.version.name}-{self.version.version}" if self.version else self.method

    @property
    def fingerprint(self) -> str:
        """Of its content; two versions are two models even where their content is the same."""
        of = self.version.uri if self.version else ""
        return hashlib.sha256(of.encode() + (self.artifact / MANIFEST).read_bytes()).hexdigest()


def find_model(text: str, folder: Path) -> Model:
    """The model `text` names; the package of a version is put below the existing `folder`.

    Raises InputError where there is none.
    """
    if is_reference(text):
        version = find(connect(), text)
        return _of_version(version, download(version, folder / "package"))
    artifact = Path(text)
    if not (artifact / DESCRIPTION).is_file():
        raise InputError(_no_model(text))
    return Model(str(artifact.absolute()), artifact, Description.read(artifact).base_ref)


def _of_version(version: Version, package: Path) -> Model:
    check_manifest(package)
    base = BaseRef(**read_json(package, SERVED)["base"])
    return Model(version.uri, package / ARTIFACT, base, version, read_train_keys(package))


def _no_model(text: str) -> str:
    inside = Path(text, ARTIFACT)
    found = f"no model {text!r}" if not Path(text).exists() else f"{text} has no {DESCRIPTION}"
    meant = f" (did you mean {str(inside)!r}?)" if (inside / DESCRIPTION).is_file() else ""
    return (
        f"{found}{meant}: expected models:/NAME@alias, models:/NAME/VERSION, or the artifact folder of a "
        "candidate, as in runs/NAME-…/candidates/ID/artifact"
    )
