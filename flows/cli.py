"""The command `stepladder`. Each module of `flows/commands` is one command of the same name (_ becomes -).

Nothing heavy is imported here, nor at the top of a command's module, so that help is quick.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import traceback
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..core.environment import bootstrap
from ..core.errors import StepladderError
from ..core.files import is_disk_full, no_room
from . import commands
from .torchrun import require_run

DEBUG = "STEPLADDER_DEBUG"


def main() -> None:
    """Run the command of `sys.argv` and exit: 0 done, 1 failed, 2 wrong input, 3 a gate said no."""
    bootstrap()
    try:
        make_app()()
    except StepladderError as error:
        raise SystemExit(_tell(error, f"stepladder: {error}", error.exit_code)) from None
    except Exception as error:
        if is_disk_full(error):
            text = no_room(f"stepladder: {error}", Path.cwd())
            raise SystemExit(_tell(error, text, StepladderError.exit_code)) from None
        lines = [*str(error).splitlines(), ""]
        hint = "`stepladder --debug ...` shows where"
        text = f"stepladder: unexpected {type(error).__name__}: {lines[0]} ({hint})"
        raise SystemExit(_tell(error, text, StepladderError.exit_code)) from None


def make_app() -> typer.Typer:
    """The command with all its subcommands."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(stepladder)
    for module in pkgutil.iter_modules(commands.__path__):
        command = importlib.import_module(f"{commands.__name__}.{module.name}")
        app.command(module.name.replace("_", "-"))(getattr(command, module.name))
    return app


def stepladder(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of a failure")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="show the version and exit", callback=lambda on: _version(on))
    ] = False,
) -> None:
    """Adapt a language model by every rung of the ladder and register the lowest that is good enough."""
    if debug:
        os.environ[DEBUG] = "1"  # child processes read it too
    require_run(context.invoked_subcommand or "")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stepladder {__version__}")
        raise typer.Exit


def _tell(error: Exception, text: str, exit_code: int) -> int:
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        text = "".join(traceback.format_exception(error)) + text
    typer.echo(text, err=True)
    return exit_code
