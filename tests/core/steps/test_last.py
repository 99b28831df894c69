"""The last steps of a run, done again from what fakes left of the others."""

import shutil

import pytest
from fakes.small import graph
from stepladder.core.errors import InputError
from stepladder.core.report.folder import write_graph
from stepladder.core.steps.execute import execute
from stepladder.core.steps.last import found, read_graph, registered_as

RUN = {"name": "a-run", "fingerprint": "f" * 64, "run_dir": "/elsewhere/a-run"}
LATE = ("record", "register", "report")


@pytest.fixture
def make(store, children, tmp_path):
    """Do all steps of a run; returns its folder and the outcomes."""

    def make_run(**changes):
        run_dir = tmp_path / "runs" / "a-run"
        run_dir.mkdir(parents=True)
        planned = graph(**changes).with_run(RUN)
        write_graph(run_dir, planned.to_json())
        outcomes = {}
        for node in planned.nodes:
            folders = {needed: outcomes[needed].folder for needed in node.needs}
            outcomes[node.id] = execute(node, folders, store, children, lambda line: None)
        return run_dir, outcomes

    return make_run


def test_what_the_steps_came_to_is_found_and_nothing_is_done(make, store):
    run_dir, outcomes = make(fail={"fit:lora": "error", "record": "error"}, register="support")
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}
    again = found(read_graph(run_dir), store)
    assert list(again) == [node for node in outcomes if node not in LATE]
    for node, outcome in again.items():
        assert (outcome.done, outcome.folder) == (outcomes[node].done, outcomes[node].folder)
        assert outcome.failure == outcomes[node].failure
    assert [again[node].status for node in ("fit:zero", "fit:lora", "evaluate:lora", "compare")] == [
        *("reused", "failed", "skipped", "reused"),
    ]
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")} == before


def test_a_run_that_was_moved_is_done_where_it_lies_now(make):
    run_dir, _ = make()
    assert read_graph(run_dir).nodes[-1].spec["run"] == {**RUN, "run_dir": str(run_dir)}


def test_a_step_that_has_lost_its_files_is_to_be_done_by_a_run(make, store):
    run_dir, outcomes = make()
    (outcomes["fit:lora"].folder / "result.json").write_text("{}")
    with pytest.raises(InputError, match=rf"fit lora has left .*`stepladder run --resume {run_dir}`"):
        found(read_graph(run_dir), store)


def test_a_run_that_was_killed_is_to_be_resumed(make, store):
    run_dir, outcomes = make()
    shutil.rmtree(outcomes["compare"].folder)
    with pytest.raises(InputError, match=r"but compare has left nothing whole .* --resume"):
        found(read_graph(run_dir), store)


def test_a_run_that_has_compared_nothing_is_to_be_resumed(make, store):
    run_dir, _ = make(fail={"read": "error"})
    with pytest.raises(InputError, match=r"but compare was not done; `stepladder run --resume"):
        found(read_graph(run_dir), store)


@pytest.mark.parametrize("content", [None, '[{"id": "read"', '[{"id": "read"}]'])
def test_a_run_without_its_graph_is_to_be_resumed(tmp_path, content):
    if content:
        (tmp_path / "graph.json").write_text(content)
    with pytest.raises(
        InputError, match=rf"found none that can be read; `stepladder run --resume {tmp_path}`"
    ):
        read_graph(tmp_path)


def test_another_name_changes_the_last_steps_alone():
    named, planned = registered_as(graph().with_run(RUN), "other"), graph(register="other").with_run(RUN)
    assert named.edges == planned.edges
    assert [node.id for node in named.nodes] == [node.id for node in planned.nodes]
    specs = {node.id: node.spec for node in planned.nodes}
    for node in named.nodes:
        early = {**specs[node.id]["config"], "register": None}
        assert node.spec["config"] == (specs[node.id]["config"] if node.kind in LATE else early)
        assert node.spec.get("run") == specs[node.id].get("run")
    assert registered_as(registered_as(graph().with_run(RUN), "first"), "other") == named
