"""Folders that are whole or absent: `manifest.json` names every file with its sha256, all are on the disk.

A folder is written under another name and renamed when all is flushed; one that does not match its manifest
counts as not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Name every file with its hash, and flush them all to the disk."""
    files = {}
    for path in _files(folder):
        flush(path)
        files[_name(folder, path)] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2, sort_keys=True))
    flush(folder / MANIFEST)
    flush(folder)


def is_whole(folder: Path) -> bool:
    """Whether the folder holds exactly what its manifest says."""
    try:
        expected = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    found = {_name(folder, path): path for path in _files(folder)}
    if found.keys() != expected.keys():
        return False
    return all(sha256(path) == expected[name] for name, path in found.items())


def renamed(old: Path, new: Path) -> Path:
    """Rename, and flush the folder in which it stands."""
    old.rename(new)
    flush(new.parent)
    return new


def flush(path: Path) -> None:
    """Wait until the file, or the list of a folder's files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    manifest = folder / MANIFEST  # the folder's own; an artifact inside has one that counts as content
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != manifest)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
