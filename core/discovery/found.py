"""Plugins as they lie on disk, before any of them is imported.

Built-in plugins are the modules of `stepladder/plugins/*/`; those of other packages are named by the
entry-point group `stepladder.plugins`. Both become a Found.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Literal

from ... import __version__
from ..hookspecs import ENTRY_POINT_GROUP, PROJECT

Status = Literal["ok", "disabled", "refused"]
PLUGINS = Path(__file__).parents[2] / "plugins"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin, whether it works or not.

    `name` is `<kind's folder>.<file>` for built-ins, and the entry point's name for others. `sha256` is of
    the module's file, empty where there is none. `gives` are pairs such as ("method", "lora").
    `disabled` plugins are faulty; `refused` ones are not wanted or not possible here. `error` says why.
    """

    name: str
    distribution: str
    version: str
    sha256: str
    hooks: tuple[str, ...] = ()
    gives: tuple[tuple[str, str], ...] = ()
    status: Status = "ok"
    error: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that can be loaded by its entry point."""

    info: PluginInfo
    entry: EntryPoint
    built_in: bool

    @property
    def label(self) -> str:
        """How messages name the plugin: `markov (llm-markov 0.2)`."""
        return f"{self.info.name} ({self.info.distribution} {self.info.version})"


def find_plugins() -> tuple[Found, ...]:
    """All plugins, built-ins first, in an order that does not depend on how packages were installed."""
    outsiders = sorted(_outsiders(), key=lambda found: (found.info.name, found.info.distribution))
    return (*_built_ins(), *outsiders)


def _built_ins() -> Iterator[Found]:
    for path in sorted(PLUGINS.glob("*/*.py")):
        if path.stem.startswith("_"):
            continue
        name = f"{path.parent.name}.{path.stem}"
        entry = EntryPoint(name, f"{PROJECT}.plugins.{name}", ENTRY_POINT_GROUP)
        yield Found(PluginInfo(name, PROJECT, __version__, _sha256(path)), entry, built_in=True)


def _outsiders() -> Iterator[Found]:
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        distribution, version = _identity(entry.dist)
        module = entry.value.partition(":")[0].strip()
        info = PluginInfo(entry.name, distribution, version, _sha256(_module_file(module)))
        yield Found(info, entry, built_in=False)


def _identity(distribution: Distribution | None) -> tuple[str, str]:
    """Name and version; a half-deleted distribution lacks either."""
    try:
        known = distribution.metadata.json if distribution else {}
    except FileNotFoundError:  # from importlib_metadata, where a library has put it before the standard one
        known = {}
    return str(known.get("name", "unknown")), str(known.get("version", "unknown"))


def _module_file(module: str) -> Path | None:
    """Where a module's source lies, without importing its packages."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    stems = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _sha256(path: Path | None) -> str:
    if path is None or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
