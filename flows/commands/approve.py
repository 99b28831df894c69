"""`stepladder approve`: somebody's word for a version, which the gate `manual` asks for."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer


def approve(
    name: Annotated[str, typer.Argument(help="the registered model")],
    version: Annotated[
        str | None, typer.Option(help="this version instead of the one with the alias `challenger`")
    ] = None,
    by: Annotated[str | None, typer.Option(help="who approves; default: the user of this machine")] = None,
) -> None:
    """Approve a version, for the gate `manual`."""
    from ..single import do_step

    spec = {"name": name, "version": version, "by": by or getpass.getuser()}
    told = do_step("approve", spec, typer.echo)
    typer.echo(f"Approved: version {told['version']} of {name}, by {spec['by']}")
    typer.echo(f"Next: stepladder promote {name} --version {told['version']}")
