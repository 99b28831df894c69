"""A curve in words: what the best is at how many training rows, where that changes, and how to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.table import NOTHING, interval, markdown, short

if TYPE_CHECKING:
    from ..evaluation.compare import Difference
    from ..evaluation.crossings import Crossing
    from ..metric import Metric

Curve = Mapping[str, Any]
HOW_TO_READ = """\
The training rows of a point are among those of every larger one, spread over the answers as evenly as they
go; all points have the same validation and test rows and the same labels. Who is best, and where that
changes, is told by the validation rows; test rows are only reported on, since they would flatter whoever they
had picked. A crossing lies where straight lines between the points meet, on the logarithm of one more than
the rows: it is as exact as the points are close, and one draw of rows is one draw; another may move it.
The best is not the choice: the ladder's rule takes the lowest rung that is shown to be good enough."""


def in_words(crossing: Crossing, metric: Metric) -> str:
    """A sentence on where the best changes, and whether the validation rows settle it."""
    below, above = crossing.below, crossing.above
    if crossing.at is None:
        told = f"At {_rows(crossing.low_rows)} {below}, at {_rows(crossing.high_rows)} {above}"
        told += ", and one of them lacks a figure at the other point"
    else:
        told = f"Below about {_rows(round(crossing.at))} {below}, above it {above}"
    leads = [
        f"at {_rows(rows)} {who} is ahead by {_lead(lead, metric)}"
        for rows, who, lead in (
            (crossing.low_rows, below, crossing.before),
            (crossing.high_rows, above, crossing.after),
        )
        if lead is not None
    ]
    if crossing.settled:
        return f"{told}: {'; '.join(leads)}." if leads else f"{told}."
    return f"{told}, but that is undecided, within the noise of the validation rows: {'; '.join(leads)}."


def _lead(lead: Difference, metric: Metric) -> str:
    """`0.2 (95 % interval 0.1 to 0.3)`; of relative metrics in per cent."""
    unit, scale = (" %", 100) if metric.relative else ("", 1)
    value, low, high = (short(scale * figure, 2) for figure in (lead.value, lead.low, lead.high))
    return f"{value}{unit} (95 % interval {low} to {high})"


def _rows(rows: int) -> str:
    return f"{rows:,} row" + ("" if rows == 1 else "s")


def summary(curve: Curve) -> list[str]:
    """The crossings in words; where there is none, who is best throughout; and what could not be run."""
    bests = list(dict.fromkeys(point["best"] for point in curve["points"] if point["best"]))
    lines = [crossing["text"] for crossing in curve["crossings"]]
    if not lines:
        lines = [f"{bests[0]} is the best at every point." if bests else "No candidate has finished."]
    if curve["left_out"]:
        lines.append(f"Left out at 0 rows, since they need some: {', '.join(curve['left_out'])}.")
    return lines


def headers(curve: Curve) -> list[str]:
    return ["rung", "candidate", *(_rows(point["rows"]) for point in curve["points"])]


def table(curve: Curve, split: str) -> list[list[str]]:
    """One row a candidate, one column a point; `split` is validation or test."""
    return [
        [f"{rung:g}", name, *(_cell(point, name, split) for point in curve["points"])]
        for name, rung in ladder(curve).items()
    ]


def verdicts(curve: Curve) -> list[list[str]]:
    """Who is the best at each point, and whom the ladder's rule takes: the last rows of the table."""
    points = curve["points"]
    return [
        ["", "the best", *(point["best"] or NOTHING for point in points)],
        ["", "chosen by the rule", *(point["choice"]["id"] or NOTHING for point in points)],
    ]


def ladder(curve: Curve) -> dict[str, float]:
    """Every candidate of the curve with its rung, lowest first."""
    rungs = {name: each["rung"] for point in curve["points"] for name, each in point["candidates"].items()}
    return dict(sorted(rungs.items(), key=lambda item: item[1]))


def _cell(point: Mapping[str, Any], name: str, split: str) -> str:
    candidate = point["candidates"].get(name)
    if candidate is None or candidate["status"] != "ok":
        return candidate["status"] if candidate else NOTHING
    return interval(candidate[split])


def write_curve_page(curve: Curve, picture: str) -> str:
    """The markdown page; `picture` is the file beside it."""
    metric, judged = curve["metric"], curve["validation_rows"]
    head = headers(curve)
    parts = [
        f"# {curve['name']}: rungs by training rows",
        "\n".join(f"- {line}" for line in summary(curve)),
        f"![{metric} by training rows]({picture})",
        f"## {metric} on {judged:,} validation rows, by which candidates are chosen",
        markdown(head, [*table(curve, "validation"), *verdicts(curve)]).strip(),
        f"## {metric} on the test rows, which are only reported on",
        markdown(head, table(curve, "test")).strip(),
        *_choices(curve["points"]),
        *_faults(curve["points"]),
        "## How to read it",
        HOW_TO_READ,
    ]
    return "\n\n".join(parts) + "\n"


def _choices(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## What the ladder's rule chooses"
    lines = [f"- {_rows(point['rows'])}: {point['choice']['reason']}" for point in points]
    yield "\n".join(f"{line} Run: `{point['run_dir']}`" for line, point in zip(lines, points, strict=True))


def _faults(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    faults = [f"- {_rows(point['rows'])}: {point['error']}" for point in points if point["error"]]
    faults += [
        f"- {_rows(point['rows'])}, {name}: {candidate['error']}"
        for point in points
        for name, candidate in point["candidates"].items()
        if candidate["error"]
    ]
    if faults:
        yield "## What failed"
        yield "\n".join(faults)
