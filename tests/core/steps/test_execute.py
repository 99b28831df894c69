"""One node at a time, in real children: done, reused, done again, failed, skipped."""

import json

import pytest
from fakes.small import candidate, graph
from stepladder.core.steps.ending import ending
from stepladder.core.steps.execute import execute


def run_all(built, store, children):
    outcomes = {}
    for node in built.nodes:
        folders = {needed: outcomes[needed].folder for needed in node.needs}
        outcomes[node.id] = execute(node, folders, store, children, lambda line: None)
    return outcomes


def statuses(outcomes):
    return {node_id: outcome.status for node_id, outcome in outcomes.items()}


def test_a_step_leaves_its_files_what_it_was_told_and_what_it_cost(store, children):
    read, render, *_ = graph().nodes
    first = execute(read, {}, store, children, lambda line: None)
    second = execute(render, {"read": first.folder}, store, children, lambda line: None)
    assert second.status == "ok"
    assert second.folder == store.folder / f"render-{render.fingerprint[:16]}"
    assert second.result["kind"] == "render"
    assert json.loads((second.folder / "spec.json").read_text())["needs"] == {"read": str(first.folder)}
    assert (second.folder / "log.txt").read_text() == "render at work\n"
    outcome = json.loads((second.folder / "outcome.json").read_text())
    assert outcome == {"seconds": second.seconds, "peak_memory_bytes": second.peak_memory_bytes}
    assert second.seconds > 0
    assert second.peak_memory_bytes > 1_000_000


def test_a_finished_step_is_reused_and_those_that_reach_outside_are_not(store, children):
    first = run_all(graph(), store, children)
    again = run_all(graph(), store, children)
    assert set(statuses(first).values()) == {"ok"}
    assert {node_id for node_id, status in statuses(again).items() if status == "ok"} == {"record", "report"}
    assert again["fit:lora"].result == first["fit:lora"].result, "the same process made it"
    assert again["fit:lora"].seconds == first["fit:lora"].seconds


def test_a_broken_step_is_done_again(store, children):
    first = run_all(graph(), store, children)
    (first["fit:lora"].folder / "artifact" / "adapter.json").write_text("other")
    again = run_all(graph(), store, children)
    redone = {node_id for node_id, status in statuses(again).items() if status == "ok"}
    assert redone == {"fit:lora", "record", "report"}


@pytest.mark.parametrize(("kind", "how"), [("fit", "error"), ("merge", "error"), ("evaluate", "kill")])
def test_a_failed_candidate_is_a_row(store, children, kind, how):
    outcomes = run_all(graph(fail={f"{kind}:lora": how}), store, children)
    assert outcomes[f"{kind}:lora"].status == "failed"
    rows = {row["id"]: row for row in outcomes["compare"].result["candidates"]}
    assert rows["zero"]["status"] == "ok"
    assert rows["lora"]["status"] == "failed"
    assert rows["lora"]["error"] == outcomes[f"{kind}:lora"].failure.message
    assert ending(outcomes).exit_code == 0


def test_a_candidate_that_needs_a_failed_one_is_skipped(store, children):
    tuned = candidate("tuned", needs=("lora",))
    built = graph(candidate("zero"), candidate("lora"), tuned, fail={"fit:lora": "error"})
    outcomes = run_all(built, store, children)
    rows = {row["id"]: row for row in outcomes["compare"].result["candidates"]}
    assert outcomes["fit:tuned"].status == "skipped"
    assert (rows["tuned"]["status"], rows["tuned"]["error"]) == (
        "skipped",
        "skipped, since lora failed",
    )


def test_a_comparison_without_a_candidate_is_made_again_when_the_candidate_is_there(store, children):
    broken, mended = graph(fail={"fit:lora": "error"}), graph()
    assert broken.fingerprint == mended.fingerprint
    run_all(broken, store, children)
    outcomes = run_all(mended, store, children)
    assert outcomes["fit:zero"].status == "reused"
    assert {row["status"] for row in outcomes["compare"].result["candidates"]} == {"ok"}


def test_all_candidates_failed(store, children):
    outcomes = run_all(graph(fail={"fit:zero": "error", "fit:lora": "kill"}), store, children)
    assert {row["status"] for row in outcomes["compare"].result["candidates"]} == {"failed"}
    assert ending(outcomes).exit_code == 1
    assert ending(outcomes).message == "all candidates failed"


def test_wrong_input_of_an_early_step_ends_the_run_with_its_exit_code(store, children):
    outcomes = run_all(graph(fail={"read": "input"}), store, children)
    assert statuses(outcomes)["fit:zero"] == statuses(outcomes)["compare"] == "skipped"
    assert statuses(outcomes)["report"] == "ok"
    assert ending(outcomes).exit_code == 2
    assert ending(outcomes).message == "read: the input is wrong"
    assert (outcomes["read"].folder / "quarantine.jsonl").exists()


def test_a_failure_to_record_fails_the_run_and_loses_nothing(store, children):
    outcomes = run_all(graph(register="support", fail={"record": "error"}), store, children)
    assert outcomes["compare"].done and outcomes["report"].done
    assert outcomes["register"].status == "skipped"
    assert ending(outcomes).exit_code == 1
