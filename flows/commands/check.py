"""`stepladder check`: everything that can be wrong with a run before it starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ...core.config import Resolved


def check(
    config: Annotated[Path, typer.Argument(help="the run's YAML file")],
    as_json: Annotated[bool, typer.Option("--json", help="one object with the resolved config")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value over the file")] = None,
) -> None:
    """Tell all faults of a config, or all its settings."""
    from ..checking import check_config
    from ..table import print_table

    guesses: list[str] = []
    resolved, rows = check_config(config, overrides or [], guesses.append)
    if as_json:
        typer.echo(json.dumps({**_as_json(resolved, rows), "guesses": guesses}, indent=2))
        return
    for guess in guesses:
        typer.echo(guess)
    typer.echo(_summary(resolved, rows))
    typer.echo()
    print_table(("setting", "value", "from"), _settings(resolved))


def _summary(resolved: Resolved, rows: Mapping[str, Mapping[str, int]]) -> str:
    number = len(resolved.candidates)
    counts = ", ".join(f"{split} {account['kept']}" for split, account in rows.items())
    bad = sum(account["quarantined"] for account in rows.values())
    return (
        f"ok: {number} candidate{'' if number == 1 else 's'}, base {resolved.config.base or 'none'}, "
        f"rows {counts}" + (f" ({bad} quarantined)" if bad else "")
    )


def _settings(resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    """Each dotted key with its value and where that is from."""
    origins = resolved.origins
    for key, value in _leaves(resolved.config.model_dump(mode="json"), origins):
        yield key, _show(value), origins[key]
    for candidate in resolved.candidates:
        tune = {"tune": candidate.tune} if candidate.tune else {}
        for name, value in {**candidate.settings, **tune}.items():
            key = f"methods.{candidate.id}.{name}"
            yield key, _show(value), origins[key]


def _leaves(
    values: Mapping[str, Any], origins: Mapping[str, str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if f"{prefix}{key}" in origins:
            yield f"{prefix}{key}", value
        elif isinstance(value, dict):
            yield from _leaves(value, origins, f"{prefix}{key}.")


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _as_json(resolved: Resolved, rows: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "config": resolved.config.model_dump(mode="json"),
        "candidates": [asdict(candidate) for candidate in resolved.candidates],
        "origins": dict(resolved.origins),
        "data": rows,
    }
