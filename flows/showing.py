"""What a command prints of a run and of a promotion that have ended."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rich.console import Console

from ..core.report.console import show_run
from ..core.report.folder import RESULT
from ..core.steps.execute import Outcome
from .planning import Planned
from .promotion import Ended
from .table import print_table


def show_run_folder(console: Console, planned: Planned, outcomes: Mapping[str, Outcome]) -> None:
    """The table and the choice, from what the run left in its folder."""
    compared = outcomes["compare"].result
    if outcomes["report"].done and compared:
        show_run(console, json.loads((planned.run_dir / RESULT).read_text()), compared)


def what_is_left(planned: Planned) -> str:
    """Where a failed run says more."""
    quarantine = planned.run_dir / "quarantine.jsonl"
    some = quarantine.exists() and quarantine.stat().st_size
    rows = f"Rows that were left out, with reasons: {quarantine}\n" if some else ""
    return f"{rows}Logs: {planned.run_dir / 'logs'}"


def show_promotion(console: Console, end: Ended) -> None:
    """What each gate said, and who is champion now."""
    gates = end.verdict.get("gates", ())
    if gates:
        rows = [(each["gate"], "passed" if each["passed"] else "refused", each["reason"]) for each in gates]
        print_table(("gate", "", "reason"), rows)
    if end.promoted:
        told = end.promoted
        before = f"before: version {told['previous']}" if told["previous"] else "the first one"
        console.out(f"Promoted: models:/{told['name']}@champion is version {told['version']} ({before})")
    elif not end.ending.exit_code:
        told = end.challenger
        console.out(f"models:/{told['name']}@champion is version {told['challenger']['version']} already")
