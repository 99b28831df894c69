"""A run in words: the markdown page that lies in its folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..evaluation.table import markdown

COUNTS = ("read", "kept", "quarantined", "duplicates", "leaked", "held_out", "over_limit", "truncated")


@dataclass(frozen=True, slots=True)
class Page:
    """What the page tells. `result` is result.json, `table` the markdown of the comparison.

    `faults` maps the steps that failed to their messages, `seen_before` counts the earlier runs that
    were judged on the same test rows.
    """

    result: Mapping[str, Any]
    table: str
    faults: Mapping[str, str] = field(default_factory=dict)
    seen_before: int = 0


def write_page(page: Page) -> str:
    result = page.result
    parts = [f"# {result['name']}", *_verdict(result)]
    if page.table:
        parts += ["## Candidates", page.table.strip(), _tests(page.seen_before)]
    if result["data"]:
        parts += ["## Data", _data(result["data"])]
    if page.faults:
        parts += ["## What failed", *_faults(page.faults, result["run_dir"])]
    parts += ["## Next", "\n".join(f"    {command}" for command in next_commands(result))]
    return "\n\n".join(parts) + "\n"


def next_commands(result: Mapping[str, Any]) -> list[str]:
    """What the user may want to do now, with the tools of this installation and its registry."""
    if result["status"] != "ok":
        return [f"stepladder run --resume {result['run_dir']}"]
    commands = [f"less {result['run_dir']}/report.md", f"{_mlflow()} ui --host 127.0.0.1"]
    registered = result["registered"]
    if registered:
        version = f"models:/{registered['name']}@{registered['alias']}"
        commands.append(f"{_mlflow()} models serve -m {version} --env-manager local --host 127.0.0.1")
    return commands


def _mlflow() -> str:
    """The command with its registry; a server's address is left out, since it may hold a password.

    MLflow starts its servers by name, so this installation's programs must be on the path.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    registry = f"MLFLOW_TRACKING_URI={uri} " if uri.startswith("sqlite:") else ""
    return f"PATH={Path(sys.executable).parent}:$PATH {registry}mlflow"


def _verdict(result: Mapping[str, Any]) -> Iterator[str]:
    choice, registered = result["choice"], result["registered"]
    if choice["id"]:
        yield f"Chosen: **{choice['id']}**. {choice['reason']}"
    else:
        yield f"Nothing was chosen. {choice['reason']}"
    if registered:
        where = f"models:/{registered['name']}@{registered['alias']}"
        yield f"Registered as `{where}`, version {registered['version']}."
    yield f"Fingerprint `{result['fingerprint']}`."


def _tests(seen_before: int) -> str:
    """Test rows that have judged many runs say less and less of new rows."""
    if not seen_before:
        return "These test rows have judged no other run in this folder."
    runs = "1 other run" if seen_before == 1 else f"{seen_before} other runs"
    return f"These test rows have judged {runs} in this folder before: the figures lean to the good side."


def _data(data: Mapping[str, Mapping[str, int]]) -> str:
    return markdown(["split", *COUNTS], [_counts(split, counts) for split, counts in data.items()]).strip()


def _counts(split: str, counts: Mapping[str, int]) -> Sequence[str]:
    return [split, *(f"{counts[name]:,}" for name in COUNTS)]


def _faults(faults: Mapping[str, str], run_dir: str) -> Iterator[str]:
    for step, message in faults.items():
        yield f"**{step}**\n\n```\n{message}\n```"
    yield f"Finished steps are kept; to try the others again: `stepladder run --resume {run_dir}`"
