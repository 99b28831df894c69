"""A plugin that raises, exits or ends its process in some hook: the others finish."""

import json
import random

import pytest
from faulty_runs import OF_A_CANDIDATE, climb, make_faulty

SOME = random.Random(6)


@pytest.fixture
def faulty(project, base_folder):
    return make_faulty(project, base_folder)


def test_some_faults_end_one_candidate_and_deadly_listeners_none(faulty, shell):
    cases = SOME.sample([each for each in OF_A_CANDIDATE if each[2] != "print"], 2)
    ended = climb(shell, [*cases, ("x_answers", "predict", "print")])
    for event in ("run_started", "registered", "candidate_finished"):
        fault = f"stepladder_{event} ends the process that calls it (exit code 7)"
        assert f"plugin faulty (faulty 0.2): {fault}" in ended.out
    assert "bytes are passed over here; the log has them" in ended.out
    assert len(ended.out) < 100_000
    assert faulty.versions() == [("colours", 1)]
    listed = shell.stepladder("plugins", "--json")
    status = {each["name"]: (each["status"], each["error"]) for each in json.loads(listed.out)}
    assert status["faulty"] == ("ok", "")
    assert status["raising"] == ("disabled", "cannot be imported: ValueError: no")
    assert status["exiting"] == ("disabled", "cannot be imported: SystemExit: 3")
    dying = "cannot be imported: it ends the process that calls it (exit code 7)"
    assert status["dying"] == ("disabled", dying)
    shell.assert_nothing_is_left()
