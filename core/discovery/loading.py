"""From plugins on disk to plugins at work: each is let in, imported, registered and asked on its own.

Whatever a plugin does wrong ends in a Rejected of that plugin. Only KeyboardInterrupt passes.
"""

from __future__ import annotations

import os
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from .. import hookspecs
from ..errors import did_you_mean
from ..hookspecs import API_VERSION, PROJECT
from .contract import KINDS, class_faults
from .found import Found, Status

ALLOW, DENY = "STEPLADDER_PLUGINS_ALLOW", "STEPLADDER_PLUGINS_DENY"


class Rejected(Exception):
    """This plugin is left out, for the reason that its message gives."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plugin at work: the registered object, its hooks, and its classes by (kind, name)."""

    found: Found
    plugin: object
    hooks: tuple[str, ...]
    classes: Mapping[tuple[str, str], type[Any]]


def make_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def hook_names() -> list[str]:
    """Every hook that a plugin can implement."""
    return [name for name in vars(hookspecs) if name.startswith(f"{PROJECT}_")]


def describe(error: BaseException) -> str:
    """An error of a plugin on one line, bounded."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.300}" if text else type(error).__name__


def let_in(found: Found, everyone: Sequence[Found]) -> None:
    """Raise Rejected if the user's lists, or another plugin of the same name, keep this one out."""
    name = found.info.name
    if name in _names(DENY):
        raise Rejected("refused", f"named by {DENY}")
    if ALLOW in os.environ and not found.built_in and name not in _names(ALLOW):
        raise Rejected("refused", f"not named by {ALLOW}; add {name!r} to it to use this plugin")
    namesakes = [other for other in everyone if other.info.name == name and other is not found]
    if namesakes and not found.built_in:
        labels = ", ".join(other.label for other in namesakes)
        raise Rejected("refused", f"its name is also that of {labels}; uninstall one of them")


def load(found: Found) -> object:
    """Import the plugin. Raises Rejected if that fails or if it was written for another contract."""
    try:
        plugin: object = found.entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Rejected("disabled", f"cannot be imported: {describe(error)}") from error
    if not isinstance(plugin, types.ModuleType):
        raise Rejected("disabled", f"its entry point must name a module, found {plugin!r:.80}")
    if not found.built_in:
        _check_api(found, getattr(plugin, "STEPLADDER_API", None))
    return plugin


def register(manager: pluggy.PluginManager, found: Found, plugin: object) -> None:
    """Give the plugin to pluggy. Raises Rejected where it implements no hook, or one with other arguments."""
    try:
        manager.register(plugin, found.info.name)
    except Exception as error:
        raise Rejected("disabled", f"cannot be registered: {describe(error)}") from error
    if not manager.get_hookcallers(plugin):
        manager.unregister(plugin)
        raise Rejected("disabled", f"implements no hook; mark one with @hookimpl, such as {hook_names()[0]}")


def unregister_misspelt(manager: pluggy.PluginManager) -> Iterator[tuple[str, Rejected]]:
    """Take out every plugin with a hook that does not exist; yields its name and why."""
    while True:
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            name = manager.get_name(error.plugin)
            assert name is not None, "pluggy names only registered plugins"
            unknown = [
                caller.name for caller in manager.get_hookcallers(error.plugin) or () if not caller.has_spec()
            ]
            manager.unregister(error.plugin)
            reasons = [f"there is no hook {hook!r}{did_you_mean(hook, hook_names())}" for hook in unknown]
            yield name, Rejected("disabled", "; ".join(reasons))
        else:
            return


def ask(manager: pluggy.PluginManager, found: Found, plugin: object) -> Loaded:
    """Call the plugin's hooks that return classes. Raises Rejected if one raises or returns anything else."""
    hooks = tuple(sorted(caller.name for caller in manager.get_hookcallers(plugin) or ()))
    classes: dict[tuple[str, str], type[Any]] = {}
    for kind in KINDS:
        if f"{PROJECT}_{kind}s" in hooks:
            for cls in _ask_kind(manager, plugin, kind):
                if (kind, cls.name) in classes:
                    raise Rejected("disabled", f"gives two {kind}s named {cls.name!r}")
                classes[kind, cls.name] = cls
    return Loaded(found, plugin, hooks, classes)


def call_apart(manager: pluggy.PluginManager, plugin: object, hook: str, **arguments: Any) -> list[Any]:
    """Call one plugin's implementation of a hook, and no other's."""
    others = manager.get_plugins() - {plugin}
    returned: list[Any] = manager.subset_hook_caller(hook, others)(**arguments)
    return returned


def clashes(loaded: Sequence[Loaded]) -> Iterator[tuple[Loaded, Rejected]]:
    """Plugins that give a name which another one gives too. A built-in stays, an outsider goes.

    Of two outsiders both go: keeping the first would let the order of installation decide a run.
    """
    built_ins = [each for each in loaded if each.found.built_in]
    outsiders = []
    for each in loaded:
        rejected = None if each.found.built_in else _clash(each, built_ins)
        if rejected:
            yield each, rejected
        elif not each.found.built_in:
            outsiders.append(each)
    for peers in (built_ins, outsiders):
        for each in peers:
            if rejected := _clash(each, [other for other in peers if other is not each]):
                yield each, rejected


def _clash(loaded: Loaded, others: Sequence[Loaded]) -> Rejected | None:
    for other in others:
        shared = sorted(_claims(loaded) & _claims(other))
        if shared:
            names = ", ".join(f"{kind} {name!r}" for kind, name in shared)
            return Rejected("refused", f"{names}: also given by {other.found.label}; one of them must go")
    return None


def _claims(loaded: Loaded) -> set[tuple[str, str]]:
    """What only one plugin may give: names, and what a source reads."""
    sources = [cls for (kind, _), cls in loaded.classes.items() if kind == "source"]
    suffixes = {("suffix", suffix) for source in sources for suffix in source.suffixes}
    folders = {("folder with", name) for source in sources for name in source.folders}
    schemes = {("scheme", source.scheme) for source in sources if source.scheme}
    return {*loaded.classes, *suffixes, *folders, *schemes}


def _ask_kind(manager: pluggy.PluginManager, plugin: object, kind: str) -> list[type[Any]]:
    try:
        answers = call_apart(manager, plugin, f"{PROJECT}_{kind}s")
        returned = answers[0] if answers else None
        faults = class_faults(kind, returned)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Rejected("disabled", f"{PROJECT}_{kind}s raised {describe(error)}") from error
    if faults:
        raise Rejected("disabled", "; ".join(faults))
    return list(returned or ())


def _check_api(found: Found, api: object) -> None:
    if api == API_VERSION:
        return
    said = "sets no STEPLADDER_API" if api is None else f"is written for STEPLADDER_API {api!r}"
    raise Rejected(
        "refused",
        f"{said}, and this Stepladder has {API_VERSION}: install a release of {found.info.distribution} "
        f"made for it, or, if it is yours, follow core/hookspecs.py and set STEPLADDER_API = {API_VERSION}",
    )


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",")}
