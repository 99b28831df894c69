"""Whence a package comes: what it was made of, as far as it can be found out when it is made."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..config.decoders import name_and_settings, named_scorer
from ..data.account import as_json, load_accounts
from ..discovery import Registry, discover
from ..environment import installed
from ..model.locate import BaseRef
from .licenses import base_license

if TYPE_CHECKING:
    from .pack import Contents

LIBRARIES = ("stepladder", "torch", "transformers", "tokenizers", "safetensors", "numpy", "mlflow")
Json = dict[str, Any]


def gather(contents: Contents) -> Json:
    """The content of lineage.json."""
    config, run = contents.config, contents.run
    return {
        "config": dict(config),
        "data": as_json(load_accounts(contents.rendered)),
        "data_sha256": run["data_sha256"],
        "plugins": _plugins(contents, discover()),
        "versions": {"python": platform.python_version(), **_libraries()},
        "commit": run.get("commit"),
        "licenses": {
            "base": base_license(BaseRef(**contents.base)),
            "data": config.get("data_license"),
        },
    }


def _libraries() -> dict[str, str]:
    found = {library: installed(library) for library in LIBRARIES}
    return {library: version for library, version in found.items() if version}


def _plugins(contents: Contents, registry: Registry) -> dict[str, str]:
    """`<kind>:<name>` → distribution, version and the hash of the file, of those that made the candidate.

    What else its method computes with stands among them as `library:<name>`.
    """
    found = {}
    for kind, name in dict.fromkeys(_used(contents, registry)):
        plugin = registry.plugin_of(kind, name)
        found[f"{kind}:{name}"] = f"{plugin.distribution} {plugin.version} {plugin.sha256[:12]}".rstrip()
    libraries = registry.method(contents.entry["method"]).libraries
    return found | {f"library:{name}": f"{name} {installed(name)}" for name in libraries}


def _used(contents: Contents, registry: Registry) -> Iterator[tuple[str, str]]:
    config, entry = contents.config, contents.entry
    yield "method", entry["method"]
    decoder = entry["settings"].get("decoder")
    if decoder is not None:
        name, given = name_and_settings(decoder)
        yield "decoder", name
        kind = registry.decoder(name)
        scorer = named_scorer(kind, kind.Settings(**given))
        yield from [("scorer", scorer[0])] if scorer else []
    yield "task", config["task"]
    yield from (("metric", name) for name in entry["metrics"])
    files = (config["data"][split] for split in ("train", "validation", "test"))
    yield from (("source", registry.source_for(file).name) for file in files if isinstance(file, str))
