"""`stepladder refresh` by hand, on real runs and a real registry: what is new, and who is promoted."""

import pytest

pytestmark = pytest.mark.slow

REFRESH = ["refresh", "colours.yaml", "--engine", "inline"]
COMMANDS = {
    "registered but not promoted": ["run", "colours.yaml", "--engine", "inline"],
    "promoted": REFRESH,
    "nothing new": REFRESH,
    "not to be promoted": [*REFRESH, "--no-promote"],
    "new rows refused": ["refresh", "strict.yaml", "--engine", "inline"],
    "refused and nothing new": ["refresh", "strict.yaml", "--engine", "inline"],
    "other gates": ["refresh", "more.yaml", "--engine", "inline"],
    "no name": [*REFRESH, "--set", "register=null"],
}


@pytest.fixture(scope="module")
def ended(project):
    project.config("colours")
    project.config("more", train="more")
    project.config("strict", train="more", least=1.1)
    return project.stepladder(COMMANDS)


def test_a_version_that_was_registered_before_a_kill_is_promoted(ended):
    assert "champion" not in ended["registered but not promoted"].out
    said = ended["promoted"].out.splitlines()
    assert ended["promoted"].code == 0, ended["promoted"]
    assert "✓ evaluate zero_shot  done before" in said
    assert "Promoted: models:/colours@champion is version 1 (the first one)" in said


def test_where_nothing_is_new_nothing_is_done_and_that_is_said(ended):
    assert ended["nothing new"].code == 0
    (said,) = ended["nothing new"].out.splitlines()
    (run,) = {line.split(":")[0] for line in ended["promoted"].out.splitlines() if " steps" in line}
    assert said == (
        f"nothing new: rows and config are those of {run}, where it ended so: "
        "Version 1 of colours is the champion."
    )


def test_without_promotion_the_run_is_all_that_is_done(ended):
    assert ended["not to be promoted"].code == 0, ended["not to be promoted"]
    assert "✓ evaluate zero_shot  done before" in ended["not to be promoted"].out
    assert "champion" not in ended["not to be promoted"].out


def test_a_gate_that_says_no_is_asked_once(ended):
    refused, again = ended["new rows refused"], ended["refused and nothing new"]
    assert refused.code == 3, refused
    assert "Registered: models:/colours@challenger, version 2" in refused.out
    assert "Promoted" not in refused.out
    assert again.code == 0
    assert "nothing new: " in again.out
    assert "where it ended so: colours: version 2 is not promoted" in again.out, again


def test_other_gates_are_asked_anew_of_the_run_that_is_there(ended):
    asked = ended["other gates"]
    assert asked.code == 0, asked
    assert "✓ evaluate zero_shot  done before" in asked.out
    assert "Promoted: models:/colours@champion is version 2 (before: version 1)" in asked.out


def test_a_config_that_registers_nothing_is_refused_at_once(ended):
    assert ended["no name"].code == 2
    assert "register: a refresh promotes what its run registers; expected a name" in ended["no name"].err
    assert "--no-promote" in ended["no name"].err
