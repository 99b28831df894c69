"""Two runs of one config at once."""

import pytest
from real_run import RUN

pytestmark = pytest.mark.faults


def test_two_runs_of_one_config_make_one_version(project):
    running = [project.start(*RUN) for _ in range(2)]
    for each in running:
        ended = each.wait()
        assert ended.code == 0, ended.said
    assert project.versions() == [("colours", 1)]
    project.assert_nothing_is_left()
