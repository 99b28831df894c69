"""`stepladder verify`: whether a version, or a candidate of a run, is as it was and answers as it did."""

from __future__ import annotations

from typing import Annotated

import typer


def verify(
    model: Annotated[
        str,
        typer.Argument(help="models:/NAME@alias, models:/NAME/VERSION, or a candidate's artifact folder"),
    ],
) -> None:
    """Check a model's files, base and answers; exit with 2 for what is not as it was."""
    from ..single import do_step
    from ..table import print_table

    verified = do_step("verify", {"model": model}, typer.echo)
    print_table(("checked", "found"), list(verified["checked"].items()))
    typer.echo(f"Verified: {verified['model']}")
