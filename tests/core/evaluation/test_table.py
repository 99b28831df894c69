"""The table of a run, cell by cell."""

from __future__ import annotations

import subprocess
import sys

from stepladder.core.evaluation.table import headers, markdown, rows, short

COST = {"trainable_parameters": 460_800, "fit_seconds": 1234.56, "peak_memory_bytes": 3 * 2**30}
FIGURE = {"accuracy": {"value": 0.91234, "low": 0.9, "high": 1.0}}
LORA = {
    "id": "lora",
    "rung": 1.5,
    "status": "ok",
    "metrics": FIGURE,
    "validation_metrics": FIGURE,
    "against_chosen": {"value": 0.0125, "low": -0.01, "high": 0.04, "relative": False},
    "retention": {"forgetting": 0.0123},
    "cost": {**COST, "written_tokens_per_row": 31.25},
}
ZERO = {
    **LORA,
    "id": "zero_shot",
    "rung": 0.0,
    "against_chosen": None,
    "retention": None,
    "cost": {**COST, "trainable_parameters": 0, "peak_memory_bytes": None},
}
LOST = {
    **LORA,
    "id": "full",
    "rung": 2.0,
    "status": "failed",
    "metrics": {},
    "validation_metrics": {},
    "against_chosen": None,
    "retention": None,
    "cost": dict.fromkeys(COST),
}
INTERVAL = "0.912 (0.9 to 1)"


def test_rows_follow_the_ladder():
    assert rows([LOST, LORA, ZERO], {"id": "zero_shot", "reason": ""}, "accuracy") == [
        ["0", "zero_shot (chosen)", INTERVAL, INTERVAL, "-", "-", "0", "1,234.6", "-", "-"],
        [
            "1.5",
            "lora",
            INTERVAL,
            INTERVAL,
            "+0.013 (-0.010 to +0.040)",
            "+1.2%",
            "460,800",
            "1,234.6",
            "3,072 MiB",
            "31.2",
        ],
        ["2", "full", "failed", "-", "-", "-", "-", "-", "-", "-"],
    ]
    assert len(headers("accuracy")) == 10


def test_a_relative_difference_is_told_in_per_cent():
    relative = {**LORA, "against_chosen": {**LORA["against_chosen"], "relative": True}}
    assert rows([relative], {"id": None, "reason": ""}, "accuracy")[0][4] == "+1.2% (-1.0% to +4.0%)"


def test_figures_are_short_and_readable():
    told = [short(figure) for figure in (0.912345, 1.0, 1234.56, 12345.6, 1e7, -0.00001234)]
    assert told == ["0.9123", "1", "1235", "12,346", "10,000,000", "-1.234e-05"]


def test_markdown_keeps_its_columns():
    assert (
        markdown(["a", "b"], [["x|y", "two\nlines"]]) == "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n"
    )


def test_the_console_needs_no_numpy_for_it():
    code = "import sys, stepladder.core.evaluation.table; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
