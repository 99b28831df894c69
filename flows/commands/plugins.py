"""`stepladder plugins`: what is installed, what it gives, and what keeps a plugin from working."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...core.discovery import PluginInfo


def plugins(as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False) -> None:
    """List all plugins, the faulty ones too."""
    from ...core.discovery import listing
    from ..table import print_table

    infos = listing().plugins
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in infos], indent=2))
        return
    print_table(("plugin", "from", "status", "gives", "hooks", "error"), map(_row, infos))


def _row(info: PluginInfo) -> tuple[str, ...]:
    gives = ", ".join(f"{kind} {name}" for kind, name in info.gives)
    hooks = ", ".join(hook.removeprefix("stepladder_") for hook in info.hooks)
    return info.name, f"{info.distribution} {info.version}", info.status, gives, hooks, info.error
