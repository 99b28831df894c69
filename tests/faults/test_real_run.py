"""What the tests of faults look at is seen where something is left, and nothing is left by a whole run."""

from real_run import RUN


def test_a_killed_run_leaves_what_the_next_one_clears_away(project):
    running = project.start(*RUN)
    running.read_until("fit lora |")
    running.kill()
    assert any(name.endswith(".partial") for name in project.half_written())
    ended = project.stepladder(*RUN)
    assert ended.code == 0, ended.said
    assert "read  done before" in ended.said
    assert project.versions() == [("colours", 1)]
    assert set(project.weights()) == {"lora/artifact/weights.safetensors"}
    assert set(project.scores()) == {"zero_shot", "lora"}
    project.assert_nothing_is_left()
