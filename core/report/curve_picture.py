"""The picture of a curve: figures with their intervals over training rows, on light and on dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .curve import Curve, ladder

# Legible on white and on black: the page's background shows through.
INK = "#808080"
COLOURS = ("#0a84d6", "#e0751b", "#2ca06a", "#c65bb5", "#b59a00", "#d64545", "#7a6ff0", "#5f9ea0")
MARKERS = "osD^vPX*"
# The same curve is the same file, and its text stays text.
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "stepladder", "font.size": 9}


def write_picture(curve: Curve, path: Path) -> None:
    """An SVG of two panels, validation and test, with training rows on a scale of log(1 + rows)."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for split, axes in zip(("validation", "test"), panels, strict=True):
            _draw(axes, curve, split)
        panels[0].set_ylabel(curve["metric"], color=INK)
        handles, names = panels[0].get_legend_handles_labels()
        if names:
            legend = {"frameon": False, "labelcolor": INK, "ncols": min(len(names), 4)}
            figure.legend(handles, names, loc="outside lower center", **legend)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _draw(axes: Axes, curve: Curve, split: str) -> None:
    """The lines of all candidates, and dotted ones where the best changes."""
    for place, name in enumerate(ladder(curve)):
        _draw_candidate(axes, curve, split, name, place)
    for crossing in curve["crossings"]:
        if split == "validation" and crossing["at"] is not None:
            axes.axvline(crossing["at"], color=INK, linestyle=":", linewidth=1)
    rows = [point["rows"] for point in curve["points"]]
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(rows, [f"{each:,}" for each in rows])
    axes.minorticks_off()
    chooses = "chooses" if split == "validation" else "reported"
    axes.set_title(f"{split} ({chooses})", color=INK, fontsize=9)
    axes.set_xlabel("training rows", color=INK)
    axes.tick_params(colors=INK)
    axes.grid(color=INK, alpha=0.2)
    for spine in axes.spines.values():
        spine.set_color(INK)


def _draw_candidate(axes: Axes, curve: Curve, split: str, name: str, place: int) -> None:
    found = [(point["rows"], figure) for point in curve["points"] if (figure := _figure(point, name, split))]
    if not found:
        return
    rows = [each for each, _ in found]
    values = [figure["value"] for _, figure in found]
    down = [figure["value"] - figure["low"] for _, figure in found]
    up = [figure["high"] - figure["value"] for _, figure in found]
    look: dict[str, Any] = {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4,
    }
    axes.errorbar(rows, values, yerr=[down, up], label=name, linewidth=1.5, capsize=2, **look)


def _figure(point: Mapping[str, Any], name: str, split: str) -> Mapping[str, float] | None:
    candidate = point["candidates"].get(name)
    figure: Mapping[str, float] | None = candidate[split] if candidate else None
    return figure
