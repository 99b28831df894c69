"""A run in words: the markdown page that lies in its folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..evaluation.table import NOTHING, interval, markdown, short

SEARCHES = ("searched", "tuned")
COUNTS = ("read", "kept", "quarantined", "duplicates", "leaked", "held_out", "over_limit", "truncated")


@dataclass(frozen=True, slots=True)
class Page:
    """What the page tells. `result` is result.json, `table` the markdown of the comparison by `metric`.

    `details` holds the tables behind figures of the chosen candidate, by metric, `faults` maps the steps
    that failed to their messages, `near_duplicates` is what the reading step found of them, `seen_before`
    counts the earlier runs that were judged on the same test rows, `pictures` has a file for each candidate
    whose answers can be drawn.
    """

    result: Mapping[str, Any]
    table: str
    metric: str = ""
    details: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    near_duplicates: Mapping[str, Any] | None = None
    seen_before: int = 0
    pictures: Mapping[str, str] = field(default_factory=dict)


def write_page(page: Page) -> str:
    result = page.result
    parts = [f"# {result['name']}", *_verdict(result)]
    if page.table:
        parts += ["## Candidates", page.table.strip(), _tests(page.seen_before)]
    parts += _pictures(page.pictures)
    parts += [*_slices(result["candidates"], page.metric), *_details(result["choice"]["id"], page.details)]
    parts += [*_searches(result["candidates"]), *_notes(result["candidates"])]
    if result["data"]:
        parts += ["## Data", _data(result["data"]), *_near_duplicates(page.near_duplicates)]
    if page.faults:
        parts += ["## What failed", *_faults(page.faults, _again(result))]
    parts += ["## Next", "\n".join(f"    {command}" for command in next_commands(result))]
    return "\n\n".join(parts) + "\n"


def next_commands(result: Mapping[str, Any]) -> list[str]:
    """What the user may want to do now, with the tools of this installation and its registry."""
    if result["status"] != "ok":
        return [_again(result)]
    commands = [f"less {result['run_dir']}/report.md", *_ui()]
    registered = result["registered"]
    if registered:
        version = f"models:/{registered['name']}@{registered['alias']}"
        commands.append(f"{_mlflow()} models serve -m {version} --env-manager local --host 127.0.0.1")
    return commands


def _again(result: Mapping[str, Any]) -> str:
    """The command that tries again what failed: where a choice is made, that MLflow has not taken it."""
    only_mlflow = result["status"] != "ok" and result["choice"]["id"]
    return f"stepladder {'register' if only_mlflow else 'run --resume'} {result['run_dir']}"


def _ui() -> Iterator[str]:
    """The command that shows a registry in a file: MLflow's own does not ask MLFLOW_TRACKING_URI."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("sqlite:"):  # a server has its own
        yield f"PATH={_programs()}:$PATH mlflow ui --backend-store-uri {uri} --host 127.0.0.1"


def _mlflow() -> str:
    """The command with its registry; a server's address is left out, since it may hold a password.

    MLflow starts its servers by name, so this installation's programs must be on the path.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    registry = f"MLFLOW_TRACKING_URI={uri} " if uri.startswith("sqlite:") else ""
    return f"PATH={_programs()}:$PATH {registry}mlflow"


def _programs() -> Path:
    return Path(sys.executable).parent


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


def _pictures(pictures: Mapping[str, str]) -> Iterator[str]:
    if pictures:
        yield "## Answers (test)"
    for candidate, file in pictures.items():
        yield f"**{candidate}**\n\n![answers of {candidate}]({file})"


def _slices(candidates: Sequence[Mapping[str, Any]], metric: str) -> Iterator[str]:
    """A table for each column of `data.slices`: the figures of all candidates in each of its parts."""
    sliced = [each for each in candidates if each.get("slices")]
    for column in sliced[0]["slices"] if sliced else ():
        yield f"## {metric} by {column} (test)"
        parts = [each["slices"][column] for each in sliced]
        rows = [
            [value, f"{part['rows']:,}", *(interval(other[value].get(metric)) for other in parts)]
            for value, part in parts[0].items()
        ]
        yield markdown([column, "rows", *(each["id"] for each in sliced)], rows).strip()


def _details(chosen: str, details: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for metric, rows in details.items():
        yield f"## {metric} of {chosen} in detail (test)"
        yield markdown(list(rows[0]), [[_cell(cell) for cell in row.values()] for row in rows]).strip()


def _notes(candidates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What fits have noted."""
    for each in candidates:
        if each.get("notes"):
            yield f"## How {each['id']} was fitted"
            yield markdown(["", ""], [[key, _cell(value)] for key, value in each["notes"].items()]).strip()


def _searches(candidates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What candidates tried out before they settled."""
    searches = [(each["id"], each[kind]) for each in candidates for kind in SEARCHES if each.get(kind)]
    if searches:
        yield "## What was searched"
        rows = [[name, *_search(search)] for name, search in searches]
        yield markdown(["candidate", "trials", "pruned", "failed", "best", "seconds"], rows).strip()
    for name, search in searches:
        space = [
            [key, _values(varied), _values(search["best"][key])] for key, varied in search["space"].items()
        ]
        yield markdown([f"searched by {name}", "tried", "taken"], space).strip()


def _search(search: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{search[key]:,}" for key in ("trials", "pruned", "failed"))
    rows = f"{search['rows']:,} {search['split']} rows"
    yield f"{search['metric']} {short(search['value'])} on {rows}"
    yield f"{search['seconds']:.0f}"


def _values(value: Any) -> str:
    """A value, a list of them or a range, in one cell of a table."""
    if isinstance(value, Mapping):
        by = " by its logarithm" if value["log"] else ""
        return f"{value['low']:g} to {value['high']:g}{by}"
    if isinstance(value, list):
        return "; ".join(map(_values, value))
    return f"{value:.3g}" if isinstance(value, float) else " ".join(str(value).split()).replace("|", "/")


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    return short(value, digits=3) if isinstance(value, float) else str(value)


def _data(data: Mapping[str, Mapping[str, int]]) -> str:
    return markdown(["split", *COUNTS], [_counts(split, counts) for split, counts in data.items()]).strip()


def _near_duplicates(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found:
        rows = f"{found['test_rows']:,} of the test rows are near-duplicates of train rows"
        yield f"{rows} (similarity of at least {found['similarity']:g}), in near_duplicates.jsonl."


def _counts(split: str, counts: Mapping[str, int]) -> Sequence[str]:
    return [split, *(f"{counts[name]:,}" for name in COUNTS)]


def _faults(faults: Mapping[str, str], again: str) -> Iterator[str]:
    for step, message in faults.items():
        yield f"**{step}**\n\n```\n{message}\n```"
    yield f"Finished steps are kept; to try the others again: `{again}`"
