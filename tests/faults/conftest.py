"""The small run of `helpers/real_run.py`, each test in a project of its own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from real_run import make_project, open_shell


@pytest.fixture
def project(tmp_path, base_folder):
    return make_project(tmp_path, base_folder)


@pytest.fixture
def shell(project):
    with open_shell(project) as shell:
        yield shell
