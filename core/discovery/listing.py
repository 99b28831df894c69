"""What `stepladder methods` and `stepladder plugins` print, from a cache that imports no plugin.

The cache holds as long as the files of the built-in plugins, the versions and files of the others and the
user's allow and deny lists are the same. A listing with a disabled plugin is not kept: what disabled it
(a missing library, say) may be mended without a trace in the key.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..environment import home
from .found import PluginInfo, find_plugins
from .loading import ALLOW, DENY
from .registry import Registry, discover


@dataclass(frozen=True, slots=True)
class MethodLine:
    """One line of `stepladder methods`."""

    name: str
    rung: float
    tasks: tuple[str, ...]
    summary: str
    plugin: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All methods, lowest rung first, and all plugins, the faulty ones too."""

    methods: tuple[MethodLine, ...]
    plugins: tuple[PluginInfo, ...]


def listing() -> Listing:
    """The listing, from the cache if it still holds, else by importing every plugin."""
    path, key = home() / "cache" / "plugins.json", _key()
    cached = _read(path, key)
    if cached is not None:
        return cached
    fresh = _listing_of(discover())
    if all(plugin.status != "disabled" for plugin in fresh.plugins):
        with suppress(OSError):  # without a place to write, it is only slower
            _write(path, {"key": key, **asdict(fresh)})
    return fresh


def _key() -> str:
    plugins = [asdict(found.info) for found in find_plugins()]
    lists = [os.environ.get(ALLOW), os.environ.get(DENY)]
    return hashlib.sha256(json.dumps([sys.version, lists, plugins]).encode()).hexdigest()


def _listing_of(registry: Registry) -> Listing:
    methods = [
        MethodLine(
            name, cls.rung, registry.tasks_of(cls), cls.summary, registry.plugin_of("method", name).name
        )
        for name, cls in registry.methods.items()
    ]
    return Listing(tuple(sorted(methods, key=lambda line: (line.rung, line.name))), registry.plugins)


def _read(path: Path, key: str) -> Listing | None:
    try:
        cached: dict[str, Any] = json.loads(path.read_bytes())
        if cached["key"] != key:
            return None
        return Listing(
            tuple(_method_line(line) for line in cached["methods"]),
            tuple(_plugin_info(line) for line in cached["plugins"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _method_line(line: Mapping[str, Any]) -> MethodLine:
    return MethodLine(**{**line, "tasks": tuple(line["tasks"])})


def _plugin_info(line: Mapping[str, Any]) -> PluginInfo:
    gives = tuple((kind, name) for kind, name in line["gives"])
    return PluginInfo(**{**line, "hooks": tuple(line["hooks"]), "gives": gives})


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(value, file)
    Path(file.name).replace(path)
