"""A plugin that raises, exits, ends its process or prints megabytes, in each hook: the others finish."""

import json

import pytest
from faulty_runs import (
    HOOKS,
    HOWS,
    OF_A_CANDIDATE,
    OF_THE_RUN,
    check_run,
    climb,
    command_of,
    entry,
    make_faulty,
    mend,
)
from real_run import RUN

pytestmark = pytest.mark.faults


@pytest.fixture
def faulty(project, base_folder):
    return make_faulty(project, base_folder)


def test_every_fault_of_a_method_ends_one_candidate(faulty, shell):
    climb(shell, OF_A_CANDIDATE)
    assert faulty.versions() == [("colours", 1)]


def test_a_hook_that_hangs_or_takes_all_memory_ends_one_candidate(faulty, shell):
    limits = {"hang": "not done within limits.minutes: 2", "fill": "more than limits.memory_gb: 1"}
    cases = [("x_learns", "loss", "hang"), ("x_answers", "predict", "hang")]
    cases += [(method, at, "fill") for method, hooks in HOOKS.items() for at in hooks]
    methods = ["zero_shot", *(entry(*case) for case in cases)]
    told = ("--set", f"methods={json.dumps(methods)}", "--set", "limits={minutes: 2, memory_gb: 1}")
    ended = shell.stepladder(*RUN, *told)
    assert ended.code == 0, ended.said
    zero_shot, *others = faulty.result()["candidates"]
    assert zero_shot["status"] == "ok"
    for (method, at, how), found in zip(cases, others, strict=True):
        assert found["status"] == "failed", (method, at, how)
        assert limits[how] in found["error"], (method, at, how, found["error"])
    shell.assert_nothing_runs()


def test_a_fault_of_a_decoder_ends_one_candidate_and_one_of_a_scorer_none(faulty, shell):
    decoders = [{"zero_shot": {"decoder": {"x_decoder": {"how": how}}}} for how in HOWS]
    scorers = [{"best_of_n": {"n": 2, "by": {"x_scorer": {"how": how}}}} for how in (*HOWS, "hang")]
    methods = ["zero_shot", *decoders, *({"zero_shot": {"decoder": each}} for each in scorers)]
    told = [
        "--set",
        f"methods={json.dumps(methods)}",
        "--set",
        "data.limit={train: 20, validation: 2, test: 2}",
    ]
    ended = shell.stepladder("run", "bars.yaml", "--engine", "inline", *told)
    assert ended.code == 0, ended.said
    zero_shot, *others = faulty.result()["candidates"]
    assert zero_shot["status"] == "ok"
    for (status, error), found in zip(HOWS.values(), others[: len(HOWS)], strict=True):
        assert found["status"] == status, found
        assert error is None or error in found["error"]
    assert [each["status"] for each in others[len(HOWS) :]] == ["ok"] * len(scorers)


def test_every_fault_of_the_run_is_told_and_mended(faulty, shell):
    for hook, how in OF_THE_RUN:
        check_run(shell, hook, how)
    mend(faulty)
    for hook, _ in OF_THE_RUN[:: len(HOWS)]:
        ended = shell.stepladder(*command_of(hook, "raise"))
        assert ended.code == 0, ended.said
    shell.assert_nothing_is_left()


def test_a_faulty_gate_promotes_nobody(faulty, shell):
    assert shell.stepladder(*RUN, "--set", "methods=[zero_shot]", "--set", "limits.minutes=2").code == 0
    for how, code in {"raise": 3, "exit": 3, "die": 1, "hang": 1, "print": 0}.items():
        text = (faulty.folder / "colours.yaml").read_text()
        (faulty.folder / "gates.yaml").write_text(f"{text}promote: {{gates: [x_gate: {{how: {how}}}]}}\n")
        ended = shell.stepladder("promote", "colours", "--config", "gates.yaml", "--engine", "inline")
        assert ended.code == code, (how, ended.said)
        assert ("champion is version 1" in ended.out) == (how == "print")
        assert ("judge: not done within limits.minutes: 2" in ended.said) == (how == "hang")
