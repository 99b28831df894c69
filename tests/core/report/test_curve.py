"""The page and the picture of a curve, from a curve.json written by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from stepladder.core.report.curve import summary, table, verdicts, write_curve_page
from stepladder.core.report.curve_picture import write_picture


def figure(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def entry(rung, value, status="ok", error=None):
    done = figure(value) if status == "ok" else None
    return {"rung": rung, "status": status, "error": error, "validation": done, "test": done}


def point(rows, best, **candidates):
    choice = {"id": best, "reason": f"{best} it is."}
    where = {"rows": rows, "run_dir": f"runs/x-{rows}", "error": "", "choice": choice, "best": best}
    return {**where, "candidates": candidates}


CURVE = {
    "name": "colours",
    "metric": "accuracy",
    "validation_rows": 40,
    "left_out": ["probe"],
    "points": [
        point(0, "prompt", prompt=entry(0.0, 0.5)),
        point(10, "prompt", probe=entry(1.0, 0, "failed", "too few rows"), prompt=entry(0.0, 0.5)),
        point(50, "probe", probe=entry(1.0, 0.8), prompt=entry(0.0, 0.5)),
    ],
    "crossings": [{"at": 20.0, "text": "Below about 20 rows prompt, above it probe."}],
}


def test_the_table_has_a_row_for_each_candidate_and_a_column_for_each_point():
    assert table(CURVE, "validation") == [
        ["0", "prompt", "0.5 (0.4 to 0.6)", "0.5 (0.4 to 0.6)", "0.5 (0.4 to 0.6)"],
        ["1", "probe", "-", "failed", "0.8 (0.7 to 0.9)"],
    ]
    assert verdicts(CURVE) == [
        ["", "the best", "prompt", "prompt", "probe"],
        ["", "chosen by the rule", "prompt", "prompt", "probe"],
    ]


def test_the_summary_names_crossings_and_what_was_left_out():
    lines = summary(CURVE)
    assert lines[0] == "Below about 20 rows prompt, above it probe."
    assert lines[1] == "Left out at 0 rows, since they need some: probe."
    assert summary({**CURVE, "crossings": [], "left_out": [], "points": CURVE["points"][:2]}) == [
        "prompt is the best at every point."
    ]
    assert summary({**CURVE, "crossings": [], "left_out": [], "points": []}) == ["No candidate has finished."]


def test_the_page_tells_choice_failures_and_how_to_read_it():
    page = write_curve_page(CURVE, "curve.svg")
    assert "![accuracy by training rows](curve.svg)" in page
    assert "## accuracy on 40 validation rows, by which candidates are chosen" in page
    assert "- 50 rows: probe it is. Run: `runs/x-50`" in page
    assert "- 10 rows, probe: too few rows" in page
    assert "the same labels" in page


def test_the_picture_is_the_same_file_again_with_its_text_and_no_background(tmp_path):
    for name in ("one.svg", "two.svg"):
        write_picture(CURVE, tmp_path / name)
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    tree = ElementTree.fromstring(one)
    words = {"".join(each.itertext()).strip() for each in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"prompt", "probe", "validation (chooses)", "test (reported)", "0", "10", "50"} <= words
    assert b"fill: #ffffff" not in one
    assert len(one) < 60_000


def test_a_curve_on_which_nobody_finished_has_a_picture_too(tmp_path):
    nobody = {**CURVE, "crossings": [], "points": [point(5, None)]}
    write_picture(nobody, tmp_path / "none.svg")
    assert (tmp_path / "none.svg").stat().st_size > 0
