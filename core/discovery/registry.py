"""The registry: what all working plugins give, by kind and name, and the run events they listen to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pluggy

from ..errors import PluginError, did_you_mean
from ..hookspecs import PROJECT
from ..places import file_name
from . import loading
from .apart import Ended, apart
from .contract import KINDS
from .found import Found, PluginInfo, find_plugins
from .rehearsal import rehearse

if TYPE_CHECKING:
    from ..decoder import Decoder, Scorer
    from ..gate import Gate
    from ..method import Method, Task
    from ..metric import Metric
    from ..source import Source

LISTENER_SECONDS = 60.0


@dataclass(frozen=True)
class Registry:
    """What plugins give. `plugins` holds the faulty ones too; `classes` is kind → name → class."""

    plugins: tuple[PluginInfo, ...]
    classes: Mapping[str, Mapping[str, type[Any]]]
    manager: pluggy.PluginManager = field(repr=False, compare=False)

    @property
    def methods(self) -> Mapping[str, type[Method]]:
        return self.classes["method"]

    @property
    def tasks(self) -> Mapping[str, type[Task]]:
        return self.classes["task"]

    @property
    def sources(self) -> Mapping[str, type[Source]]:
        return self.classes["source"]

    @property
    def metrics(self) -> Mapping[str, type[Metric]]:
        return self.classes["metric"]

    @property
    def decoders(self) -> Mapping[str, type[Decoder]]:
        return self.classes["decoder"]

    @property
    def scorers(self) -> Mapping[str, type[Scorer]]:
        return self.classes["scorer"]

    @property
    def gates(self) -> Mapping[str, type[Gate]]:
        return self.classes["gate"]

    def method(self, name: str) -> type[Method]:
        return self._named("method", name)

    def task(self, name: str) -> type[Task]:
        return self._named("task", name)

    def source(self, name: str) -> type[Source]:
        return self._named("source", name)

    def metric(self, name: str) -> type[Metric]:
        return self._named("metric", name)

    def decoder(self, name: str) -> type[Decoder]:
        return self._named("decoder", name)

    def scorer(self, name: str) -> type[Scorer]:
        return self._named("scorer", name)

    def gate(self, name: str) -> type[Gate]:
        return self._named("gate", name)

    def tasks_of(self, method: type[Method]) -> tuple[str, ...]:
        """Names of the tasks that the method can do."""
        return tuple(name for name, task in self.tasks.items() if task.answering in method.answers)

    def source_for(self, place: str) -> type[Source]:
        """The source that reads the place: by its scheme, by a file in the folder that it is, or by its
        suffix (`.jsonl.gz` before `.gz`). Raises PluginError.
        """
        return self.source_of_scheme(place) or self.source_of_folder(Path(place)) or self._by_suffix(place)

    def source_of_scheme(self, place: str) -> type[Source] | None:
        """The source whose scheme the place begins with, such as hub:owner/name."""
        scheme, colon, _ = place.partition(":")
        schemes = {source.scheme: source for source in self.sources.values() if source.scheme}
        return schemes.get(scheme) if colon else None

    def source_of_folder(self, folder: Path) -> type[Source] | None:
        """The source that knows the folder by a file in it."""
        knowing = (
            source
            for source in self.sources.values()
            if any((folder / name).is_file() for name in source.folders)
        )
        return next(knowing, None)

    def _by_suffix(self, place: str) -> type[Source]:
        readers = {suffix: source for source in self.sources.values() for suffix in source.suffixes}
        path = PurePath(file_name(place))
        parts = [suffix.lower() for suffix in path.suffixes]
        for suffix in ("".join(parts[start:]) for start in range(len(parts))):
            if suffix in readers:
                return readers[suffix]
        found = repr(path.suffix) if path.suffix else "files without a suffix"
        raise PluginError(
            f"{path.name}: no source reads {found}{did_you_mean(path.suffix, readers)}: expected one of "
            f"{', '.join(sorted(readers)) or '(none is installed)'}; `stepladder plugins` lists them"
        )

    def plugin_of(self, kind: str, name: str) -> PluginInfo:
        """The plugin that gives the method, task, ... of this name. Raises PluginError where none does."""
        self._named(kind, name)
        return next(plugin for plugin in self.plugins if (kind, name) in plugin.gives)

    def fire(self, event: str, **arguments: Any) -> list[str]:
        """Call every plugin's hook `stepladder_<event>`; returns what went wrong as text, never raises.

        Each is called in a fork of this process: none can end or hold up the step, or change what others see.
        """
        hook = f"{PROJECT}_{event}"
        assert hook in loading.hook_names(), f"there is no event {event!r}"
        listeners = [plugin for plugin in self.plugins if plugin.status == "ok" and hook in plugin.hooks]
        return [fault for plugin in listeners if (fault := self._tell(plugin, hook, arguments))]

    def _tell(self, listener: PluginInfo, hook: str, arguments: Mapping[str, Any]) -> str | None:
        plugin = self.manager.get_plugin(listener.name)
        assert plugin is not None, "plugins that are ok are registered"
        fault = _told_apart(partial(loading.call_apart, self.manager, plugin, hook, **arguments))
        who = f"{listener.name} ({listener.distribution} {listener.version})"
        return f"plugin {who}: {hook} {fault}" if fault else None

    def _named(self, kind: str, name: str) -> type[Any]:
        known = self.classes[kind]
        if name in known:
            return known[name]
        command = "stepladder methods" if kind == "method" else "stepladder plugins"
        raise PluginError(
            f"no {kind} {name!r}{did_you_mean(name, known)}{self._broken(name)}; `{command}` lists them"
        )

    def _broken(self, name: str) -> str:
        """A hint at a faulty plugin of that name, most likely the reason why nothing is found."""
        for plugin in self.plugins:
            if plugin.status != "ok" and name in (plugin.name, plugin.name.rpartition(".")[2]):
                return f": the plugin {plugin.name} is {plugin.status}: {plugin.error}"
        return ""


def _told_apart(call: Callable[[], object]) -> str:
    """What went wrong in the call, done in a fork; empty where nothing did."""

    def work() -> str:
        try:
            call()
        except BaseException as error:
            return f"raised {loading.describe(error)}"
        return ""

    try:
        return apart(work, LISTENER_SECONDS)
    except Ended as error:
        return str(error)


def discover() -> Registry:
    """Import all plugins and ask them what they give. Raises nothing for a plugin that is faulty."""
    found = find_plugins()
    manager = loading.make_manager()
    rejected: dict[Found, loading.Rejected] = {}
    registered: dict[str, tuple[Found, object]] = {}
    for each in found:
        try:
            loading.let_in(each, found)
            rehearse(each)
            plugin = loading.load(each)
            loading.register(manager, each, plugin)
            registered[each.info.name] = (each, plugin)
        except loading.Rejected as error:
            rejected[each] = error
    for name, verdict in loading.unregister_misspelt(manager):
        rejected[registered.pop(name)[0]] = verdict
    loaded = _ask_all(manager, registered.values(), rejected)
    infos = tuple(_info(each, loaded.get(each), rejected.get(each)) for each in found)
    return Registry(infos, _classes(loaded.values()), manager)


def _ask_all(
    manager: pluggy.PluginManager,
    registered: Iterable[tuple[Found, object]],
    rejected: dict[Found, loading.Rejected],
) -> dict[Found, loading.Loaded]:
    """Those that answer as they should; the others are unregistered and written into `rejected`."""
    loaded: dict[Found, loading.Loaded] = {}
    for found, plugin in registered:
        try:
            loaded[found] = loading.ask(manager, found, plugin)
        except loading.Rejected as error:
            rejected[found] = error
            manager.unregister(plugin)
    for clashing, verdict in list(loading.clashes(list(loaded.values()))):
        rejected[clashing.found] = verdict
        manager.unregister(clashing.plugin)
        del loaded[clashing.found]
    return loaded


def _info(found: Found, loaded: loading.Loaded | None, verdict: loading.Rejected | None) -> PluginInfo:
    if verdict is not None:
        return replace(found.info, status=verdict.status, error=str(verdict))
    assert loaded is not None, "a plugin is loaded or rejected"
    return replace(found.info, hooks=loaded.hooks, gives=tuple(sorted(loaded.classes)))


def _classes(loaded: Iterable[loading.Loaded]) -> dict[str, dict[str, type[Any]]]:
    classes: dict[str, dict[str, type[Any]]] = {kind: {} for kind in KINDS}
    for each in loaded:
        for (kind, name), cls in each.classes.items():
            classes[kind][name] = cls
    return {kind: dict(sorted(named.items())) for kind, named in classes.items()}
