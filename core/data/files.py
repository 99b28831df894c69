"""The files that rows come from: are they there, and is anything in them."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError, did_you_mean


def require_file(path: Path) -> None:
    """Raises DataError, with the nearest name in its folder, unless `path` is a file with something in it."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a file of rows in it{_nearest(path)}")
    if not path.exists():
        raise DataError(f"{path} does not exist{_nearest(path.parent, path.name)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; expected one row a line")


def _nearest(folder: Path, name: str = "") -> str:
    if not folder.is_dir():
        return f"; neither does its folder {folder}"
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    return did_you_mean(name, files) or f"; {folder} holds {', '.join(files[:10]) or 'no files'}"
