"""The report's tables of parts and details, on a result as the comparing step leaves it."""

from stepladder.core.report.page import COUNTS, Page, write_page


def figure(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def candidate(name, **shares):
    area = {value: {"rows": 1200, "accuracy": figure(share)} for value, share in shares.items()}
    return {"id": name, "rung": 0, "status": "ok", "slices": {"area": area}}


def page(candidates, data=None, **more):
    result = {
        "name": "a-run",
        "fingerprint": "f",
        "status": "ok",
        "run_dir": "/runs/a-run",
        "data": data or {},
        "candidates": candidates,
        "choice": {"id": "lora", "reason": "best"},
        "registered": None,
    }
    return write_page(Page(result, "| table |", "accuracy", **more))


def test_every_part_has_a_row_and_every_candidate_a_column():
    failed = {"id": "prefix", "rung": 1, "status": "failed"}
    text = page(
        [candidate("zero_shot", north=0.25, south=0.5), failed, candidate("lora", north=0.75, south=0.5)]
    )
    section = text.partition("## accuracy by area (test)\n\n")[2].partition("\n\n")[0]
    assert section.splitlines() == [
        "| area | rows | zero_shot | lora |",
        "| --- | --- | --- | --- |",
        "| north | 1,200 | 0.25 (0.15 to 0.35) | 0.75 (0.65 to 0.85) |",
        "| south | 1,200 | 0.5 (0.4 to 0.6) | 0.5 (0.4 to 0.6) |",
    ]


def test_the_tables_behind_figures_have_all_their_columns():
    details = {"calibration_error": [{"above": 0.4, "rows": 12, "accuracy": None}]}
    text = page([candidate("lora", north=0.5)], details=details)
    section = text.partition("## calibration_error of lora in detail (test)\n\n")[2].partition("\n\n")[0]
    assert section.splitlines()[0::2] == ["| above | rows | accuracy |", "| 0.4 | 12 | - |"]


def test_without_parts_or_details_there_is_no_section():
    text = page([{"id": "lora", "rung": 0, "status": "ok"}])
    assert [line for line in text.splitlines() if line.startswith("##")] == ["## Candidates", "## Next"]


def test_near_duplicates_are_told_below_the_counts_of_the_rows():
    counts = dict.fromkeys(COUNTS, 7)
    result = {"similarity": 0.8, "test_rows": 1200, "pairs": 1300}
    text = page([{"id": "lora", "rung": 0, "status": "ok"}], data={"test": counts}, near_duplicates=result)
    assert text.partition("## Data\n\n")[2].split("\n\n")[1] == (
        "1,200 of the test rows are near-duplicates of train rows (similarity of at least 0.8), "
        "in near_duplicates.jsonl."
    )


def test_answers_that_can_be_drawn_are_shown_below_the_candidates():
    text = page([candidate("lora")], pictures={"lora": "candidates/lora/picture.png"})
    shown = "**lora**\n\n![answers of lora](candidates/lora/picture.png)"
    assert text.partition("## Answers (test)\n\n")[2].startswith(shown)


def test_what_was_searched_is_told_with_what_was_taken():
    tuned = {
        "trials": 6,
        "pruned": 2,
        "failed": 1,
        "split": "validation",
        "rows": 1200,
        "metric": "accuracy",
        "value": 0.9375,
        "space": {
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
            "instruction": ["Which | one?", "Which\none of them?"],
        },
        "best": {"learning_rate": 0.012345, "instruction": "Which | one?"},
        "seconds": 60.4,
    }
    text = page([{"id": "lora", "rung": 0, "status": "ok", "tuned": tuned}])
    counts, space = text.partition("## What was searched\n\n")[2].split("\n\n")[:2]
    assert counts.splitlines()[0::2] == [
        "| candidate | trials | pruned | failed | best | seconds |",
        "| lora | 6 | 2 | 1 | accuracy 0.9375 on 1,200 validation rows | 60 |",
    ]
    assert space.splitlines()[0] == "| searched by lora | tried | taken |"
    assert space.splitlines()[2:] == [
        "| learning_rate | 0.001 to 0.1 by its logarithm | 0.0123 |",
        "| instruction | Which / one?; Which one of them? | Which / one? |",
    ]
