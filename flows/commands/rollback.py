"""`stepladder rollback`: the champion before this one is champion again."""

from __future__ import annotations

from typing import Annotated

import typer


def rollback(name: Annotated[str, typer.Argument(help="the registered model")]) -> None:
    """Put the previous champion back; once more, the one before that."""
    from ...core.environment import home
    from ...core.files import file_lock
    from ..events import announce
    from ..single import do_step

    with file_lock(home() / "locks" / f"promoting-{name}"):
        back = do_step("rollback", {"name": name}, typer.echo)
    announce("rolled_back", back, typer.echo)
    typer.echo(
        f"Rolled back: models:/{name}@champion is version {back['version']} again "
        f"(it was {back['previous']}: `stepladder promote {name} --version {back['previous']}` undoes this)"
    )
