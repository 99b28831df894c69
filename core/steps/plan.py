"""The step that plans a run: the config is checked, the base found, every file hashed, the graph built.

It runs in a child, since it imports every plugin. It leaves nothing but its result.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..bases import read_model_config
from ..config import Resolved, load_config
from ..config.kinds import Footing
from ..config.schema import PrefectSecret
from ..data.prepare import own_places
from ..discovery import Registry, discover
from ..environment import installed
from ..errors import ConfigError
from ..model.locate import BaseRef, file_sha256, resolve_base
from ..package.commit import find_commit
from ..places import address_fingerprint, is_address
from ..report.folder import RUN
from .candidate import say
from .graph import Ingredients, as_json, build_graph
from .same_run import require_same_run

CORE = Path(__file__).parents[1]
# What is done after the choice, which no fingerprint is taken over.
LATE_PARTS = ("package", "report", "tracking")
LIBRARIES = ("torch", "transformers")


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`spec`: config (path), overrides (list of key=value), runs (folder), announce (whether to fire), and
    resumes (the folder of the run that it must be, or None).

    Returns graph, run (name, fingerprint, run_dir, data_sha256, commit, origins), config, candidates, and
    secrets (environment variable → Prefect's block).
    Raises ConfigError and ModelError, and InputError where it is another run than it must be.
    """
    registry = discover()
    resolved = load_config(Path(spec["config"]), spec["overrides"], registry)
    ingredients = gather(resolved, registry)
    require_fitting(resolved, ingredients, registry)
    graph = build_graph(ingredients)
    name, fingerprint = resolved.config.name, graph.fingerprint
    run = {
        "name": name,
        "fingerprint": fingerprint,
        "run_dir": str(Path(spec["runs"]).absolute() / f"{name}-{fingerprint[:12]}"),
    }
    about = {
        **run,
        "data_sha256": _data_hashes(ingredients),
        "commit": _commit(resolved.folder),
        "origins": dict(resolved.origins),
    }
    if spec.get("resumes"):
        require_same_run(Path(spec["resumes"]), about, ingredients.config)
    if spec["announce"]:
        for fault in registry.fire("run_started", run=run):
            say(fault)
    return {
        "graph": graph.with_run(about).to_json(),
        "run": about,
        "config": ingredients.config,
        "candidates": [as_json(candidate) for candidate in resolved.candidates],
        "secrets": _secrets(resolved),
    }


def _secrets(resolved: Resolved) -> dict[str, str]:
    """The Prefect secrets that the run's steps are lent, by the variable in which they look for each."""
    endpoint = resolved.config.endpoint
    key = endpoint.key if endpoint else None
    return {key.variable: key.prefect_secret} if isinstance(key, PrefectSecret) else {}


def require_fitting(resolved: Resolved, ingredients: Ingredients, registry: Registry) -> None:
    """Raises ConfigError for methods that cannot run on the base, whose config.json is at hand by now."""
    assert ingredients.base is not None, "gathered with the base"
    config, base = resolved.config, BaseRef(**ingredients.base)
    if not base.has_weights:  # then the config alone has told all
        return
    methods = [(registry.method(each.method), each.settings) for each in resolved.candidates]
    asked = [(method, method.Settings(**settings)) for method, settings in methods]
    footing = Footing.on(base.name, read_model_config(Path(base.path)), config.task, registry)
    faults = [f"{fault.place}: {fault.text}" for fault in footing.faults(asked, dict(config))]
    if faults:
        raise ConfigError(str(resolved.folder), dict.fromkeys(faults))


def gather(resolved: Resolved, registry: Registry) -> Ingredients:
    """All that decides what the run leaves."""
    config = resolved.config.model_dump(mode="json", by_alias=True)
    named = [
        config["data"],
        config["replay"],
        config["retain"],
        [dict(each.settings) for each in resolved.candidates],
    ]
    contents = {path: content_sha256(Path(path)) for path in _paths(named)}
    return Ingredients(
        config=config,
        candidates=resolved.candidates,
        base=_base(config, resolved.folder),
        files={**contents, **_fingerprints(own_places(config["data"]).values(), registry)},
        plugins=_plugins(registry, config),
        versions={**{name: importlib.metadata.version(name) for name in LIBRARIES}, "stepladder": own_code()},
    )


def _base(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return replace(resolve_base(config["base"], folder), access=config["endpoint"]).to_json()


def _fingerprints(places: Iterable[str], registry: Registry) -> dict[str, str]:
    """Of the places that are no paths. Raises DataError where one does not answer."""
    prints = {place: address_fingerprint(place) for place in places if is_address(place)}
    for place in places:
        source = registry.source_of_scheme(place)
        if source:
            prints[place] = source().fingerprint(place)
    return prints


def content_sha256(path: Path) -> str:
    """Of a file, or of all files in a folder with their names."""
    if path.is_file():
        return file_sha256(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = [f"{each.relative_to(path).as_posix()}:{file_sha256(each)}" for each in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def own_code() -> str:
    """sha256 of the parts of core that decide what a step leaves: an edit there makes steps again."""
    files = [path for path in sorted(CORE.rglob("*.py")) if path.relative_to(CORE).parts[0] not in LATE_PARTS]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(CORE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _paths(value: Any) -> Iterator[str]:
    """Every text in a JSON value that is an absolute path at which something lies."""
    if isinstance(value, str):
        if value.startswith("/") and len(value) < 4096 and Path(value).exists():
            yield value
    elif isinstance(value, Mapping):
        yield from _paths(list(value.values()))
    elif isinstance(value, list):
        for each in value:
            yield from _paths(each)


def _plugins(registry: Registry, config: Mapping[str, Any]) -> dict[str, str]:
    """`<kind>:<name>` → the plugin's version and file, for what this run may use.

    What a method computes with is a part of it: another version of that may compute something else.
    """

    def libraries(kind: str, name: str) -> list[str]:
        named = registry.method(name).libraries if kind == "method" else ()
        return [f"{library} {installed(library)}" for library in named]

    return {
        f"{kind}:{name}": " ".join(
            [plugin.distribution, plugin.version, plugin.sha256, *libraries(kind, name)]
        )
        for plugin in registry.plugins
        if plugin.status == "ok"
        for kind, name in plugin.gives
        if _may_use(registry, config, kind, name)
    }


def _may_use(registry: Registry, config: Mapping[str, Any], kind: str, name: str) -> bool:
    """Methods, decoders and scorers are told apart later, by candidate."""
    if kind == "task":
        return bool(name == config["task"])
    if kind == "metric":
        return name in (*registry.task(config["task"]).metrics, config["choose"]["metric"])
    if kind == "source":
        places = own_places(config["data"]).values()
        return name in {registry.source_for(place).name for place in places}
    return kind != "gate"


def _data_hashes(ingredients: Ingredients) -> dict[str, str]:
    places = own_places(ingredients.config["data"])
    return {split: ingredients.files[place] for split, place in places.items()}


def _commit(folder: Path) -> dict[str, Any] | None:
    """The commit at which the config was first run: a resumed run's is in its own folder."""
    try:
        commit: dict[str, Any] | None = json.loads((folder / RUN).read_text())["commit"]
    except (OSError, ValueError, LookupError, TypeError):
        return find_commit(folder)
    return commit
