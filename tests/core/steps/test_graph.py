"""The graph: its edges, and what does and does not change a fingerprint."""

import json
from dataclasses import replace

import pytest
from fakes.small import candidate, graph, ingredients
from stepladder.core.errors import ConfigError
from stepladder.core.steps.graph import Graph, build_graph


def fingerprints(*candidates, **changes):
    return {node.id: node.fingerprint for node in graph(*candidates, **changes).nodes}


def changed(one, other):
    return {node_id for node_id in one if one[node_id] != other[node_id]}


def test_the_edges_of_two_candidates():
    assert graph().edges == {
        ("read", "render"),
        ("render", "fit:zero"),
        ("fit:zero", "merge:zero"),
        ("merge:zero", "evaluate:zero"),
        ("fit:zero", "evaluate:zero"),
        ("render", "evaluate:zero"),
        ("render", "fit:lora"),
        ("fit:lora", "merge:lora"),
        ("merge:lora", "evaluate:lora"),
        ("fit:lora", "evaluate:lora"),
        ("render", "evaluate:lora"),
        *(
            (f"{kind}:{name}", "compare")
            for kind in ("fit", "merge", "evaluate")
            for name in ("zero", "lora")
        ),
        ("compare", "record"),
        ("fit:zero", "record"),
        ("fit:lora", "record"),
        *((node.id, "report") for node in graph().nodes if node.id != "report"),
    }


def test_retention_and_registration_only_where_they_are_asked_for():
    full = graph(retain={"text": "/data/retain.jsonl"}, register="support")
    assert full.edges - graph().edges == {
        ("render", "retention"),
        ("retention", "evaluate:zero"),
        ("retention", "evaluate:lora"),
        ("render", "register"),
        ("compare", "register"),
        ("record", "register"),
        ("retention", "report"),
        ("register", "report"),
    }


def test_what_is_replayed_is_prepared_once_and_given_to_every_fit():
    replayed = graph(replay={"source": "/data/general.jsonl", "share": 0.1})
    assert replayed.edges - graph().edges == {
        ("render", "replay"),
        ("replay", "fit:zero"),
        ("replay", "fit:lora"),
        ("replay", "report"),
    }


def test_another_share_of_the_same_text_is_fitted_again():
    one, other = (fingerprints(replay={"source": "self", "share": share}) for share in (0.1, 0.2))
    assert {"fit:zero", "fit:lora"} < changed(one, other)
    assert one["replay"] == other["replay"]


def test_a_text_to_replay_counts_by_its_content():
    replay = {"source": "/data/general.jsonl", "share": 0.1}
    one, other = (
        fingerprints(replay=replay, files={"/data/general.jsonl": digest}) for digest in ("3" * 64, "4" * 64)
    )
    assert "replay" in changed(one, other)


def test_a_candidate_stands_after_those_it_builds_on():
    built = graph(candidate("ensemble", needs=("lora", "zero")), candidate("zero"), candidate("lora"))
    order = [node.id for node in built.nodes]
    assert ("fit:lora", "fit:ensemble") in built.edges
    assert order.index("fit:ensemble") > max(order.index("fit:lora"), order.index("fit:zero"))


def test_a_circle_is_refused():
    with pytest.raises(ConfigError, match="candidates need each other in a circle"):
        graph(candidate("a", needs=("b",)), candidate("b", needs=("a",)))


def test_every_node_stands_after_those_it_needs():
    seen = set()
    for node in graph(retain={"text": "x"}, register="y").nodes:
        assert seen.issuperset(node.needs)
        seen.add(node.id)


def test_json_there_and_back():
    built = graph()
    assert Graph.from_json(json.loads(json.dumps(built.to_json()))) == built


def test_a_setting_changes_its_own_candidate_and_what_follows():
    other = fingerprints(candidate("zero"), candidate("lora", {"rank": 8}))
    assert changed(fingerprints(), other) == {
        *("fit:lora", "merge:lora", "evaluate:lora"),
        *("compare", "record", "report"),
    }


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"files": {"/data/train.jsonl": "9" * 64}}, "read"),
        ({"versions": {"torch": "2.14"}}, "read"),
        ({"base": {"name": "base", "path": "/x", "fingerprint": "c" * 64}}, "render"),
        ({"plugins": {"method:zero": "z2", "method:lora": "l1"}}, "fit:zero"),
        ({"replay": {"source": "x", "share": 0.1}}, "fit:zero"),
        ({"choose": {"margin": 0.1}}, "compare"),
    ],
)
def test_what_decides_changes_the_first_step_that_sees_it(change, first):
    differing = changed(fingerprints(), fingerprints(**change))
    order = [node.id for node in graph().nodes]
    assert next(node_id for node_id in order if node_id in differing) == first
    assert graph(**change).fingerprint != graph().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"base": {"name": "alias", "path": "/elsewhere", "fingerprint": "b" * 64}},
        {"plugins": {"method:zero": "z1", "method:lora": "l1", "method:unused": "u", "decoder:unused": "u"}},
    ],
)
def test_what_does_not_decide_changes_nothing(change):
    assert fingerprints(**change) == fingerprints()


def test_files_count_by_content_and_not_by_folder():
    moved = {"train": "/new/train.jsonl", "test": "/new/test.jsonl", "validation": 0.2}
    files = {"/new/train.jsonl": "1" * 64, "/new/test.jsonl": "2" * 64}
    assert fingerprints(data=moved, files=files) == fingerprints()


def test_the_name_of_the_registered_model_does_not_change_the_run():
    assert graph(register="one").fingerprint == graph(register="two").fingerprint == graph().fingerprint


def test_a_decoder_counts_for_the_candidates_that_name_it():
    greedy = candidate("lora", {"decoder": {"greedy": {}}})
    newer = {"method:zero": "z1", "method:lora": "l1", "decoder:greedy": "g2"}
    differing = changed(
        fingerprints(candidate("zero"), greedy), fingerprints(candidate("zero"), greedy, plugins=newer)
    )
    assert differing == {"evaluate:lora", "compare", "record", "report"}


def test_only_the_last_nodes_know_their_run():
    built = build_graph(ingredients()).with_run({"name": "a-run"})
    knowing = [node.id for node in built.nodes if "run" in node.spec]
    assert knowing == ["record", "report"]


def test_a_fit_that_is_taken_over_stands_behind_the_one_that_makes_it():
    beam = replace(candidate("lora-beam", {"decoder": "beam"}), fitted_as="lora")
    built = graph(beam, candidate("lora"))
    order = [node.id for node in built.nodes]
    assert ("fit:lora", "fit:lora-beam") in built.edges
    assert order.index("fit:lora") < order.index("fit:lora-beam")
