"""Under which licence a base is, as far as its own files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..bases import packaged_bases
from ..model.locate import BaseRef

LONGEST = 200


def base_license(base: BaseRef) -> str | None:
    """The `license` in the front matter of README.md, else the title of a LICENSE file; None without both."""
    if not base.has_weights:
        return None
    packaged = packaged_bases().get(base.name)
    if packaged:
        return packaged.license
    folders = [Path(base.path)]
    if base.name.endswith(".gguf"):
        folders = [Path(base.name).parent]
    said = (_of_readme(folder) or _of_license_file(folder) for folder in folders)
    return next((license for license in said if license), None)


def _of_readme(folder: Path) -> str | None:
    """As model cards on the hub have it; `other` stands for `license_name`."""
    front = _front_matter(_text(folder / "README.md"))
    license = front.get("license")
    if license == "other":
        license = front.get("license_name") or license
    if isinstance(license, list):
        license = ", ".join(map(str, license))
    return str(license)[:LONGEST] if license else None


def _front_matter(text: str) -> dict[str, Any]:
    if not text.startswith("---\n"):
        return {}
    try:
        front = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    return front if isinstance(front, dict) else {}


def _of_license_file(folder: Path) -> str | None:
    """The first line with words, which is its title."""
    for path in sorted(folder.glob("LICENSE*")):
        for line in _text(path).splitlines():
            if line.strip(" #*="):
                return line.strip(" #*=")[:LONGEST]
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    except OSError:
        return ""
