"""`stepladder new-method`: the skeleton of a method with its test, as a package of its own."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
WHERE = "a new or empty folder; default: stepladder-NAME in this one"


def new_method(
    name: Annotated[str, typer.Argument(help="as it will stand in configs, such as my_method")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help=WHERE)] = None,
    rung: Annotated[float, typer.Option(min=0, help="its place on the ladder")] = 1.2,
) -> None:
    """Write a package with a new method, which trains and passes its test as it is."""
    from ..skeleton import write_package

    _require_free(name)
    target = folder or Path(f"stepladder-{name.replace('_', '-')}")
    _require_empty(target)
    for file in write_package(target, name, rung):
        typer.echo(file)
    typer.echo(
        f"\nnext: pip install -e {target} && pytest {target}, and `- {name}` below `methods:` in a config"
    )


def _require_free(name: str) -> None:
    """Raises InputError for what is no name, or a method's already."""
    from ...core.discovery import listing

    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InputError(
            f"new-method: NAME: expected small letters, digits and _, such as my_method, found {name!r}"
        )
    for line in listing().methods:
        if line.name == name:
            raise InputError(
                f"new-method: NAME: {name!r} is a method already, of the plugin {line.plugin}: take another"
            )


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"new-method: {folder}: expected a new or an empty folder: name another as DIR")
