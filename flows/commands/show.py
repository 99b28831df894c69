"""`stepladder show`: whence a registered version comes, or in what two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

About = Mapping[str, Any]


def show(
    model: Annotated[str, typer.Argument(help="models:/NAME@alias or models:/NAME/VERSION")],
    other: Annotated[str | None, typer.Argument(help="a second version: only what differs is shown")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="an object, with hashes in full")] = False,
) -> None:
    """Show whence a version comes and how it was judged; of two versions, what differs."""
    from ..single import do_step

    asked = [model] if other is None else [model, other]
    found: list[About] = do_step("show", {"models": asked}, typer.echo)["versions"]
    if len(found) == 1:
        _show_one(found[0], as_json)
    else:
        _show_both(found[0], found[1], as_json)


def _show_one(about: About, as_json: bool) -> None:
    from ..lineage import known
    from ..table import print_table

    if as_json:
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    print_table(("", _name(about)), known(about))


def _show_both(one: About, other: About, as_json: bool) -> None:
    from ..lineage import differences, side_by_side
    from ..table import print_table

    differing = differences(one, other)
    if as_json:
        typer.echo(json.dumps(differing, indent=2, ensure_ascii=False))
    elif not differing:
        typer.echo(f"{_name(one)} is one and the same version")
    else:
        print_table(("", _name(one), _name(other)), side_by_side(differing))


def _name(about: About) -> str:
    return f"models:/{about['model']['name']}/{about['model']['version']}"
