"""The commit a config is run at: of a real repository, and of places that have none."""

import shutil
import subprocess

import pytest
from stepladder.core.package.commit import find_commit


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "run.yaml").write_text("name: a\n")
    author = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "run.yaml"], [*author, "commit", "-q", "-m", "a"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return folder


def test_a_commit_is_dirty_once_a_tracked_file_differs(repository):
    head = (repository / ".git" / "refs" / "heads").iterdir()
    commit = next(head).read_text().strip()
    (repository / "runs").mkdir()
    (repository / "runs" / "result.json").write_text("{}")
    assert find_commit(repository / "runs") == {"commit": commit, "dirty": False}
    (repository / "run.yaml").write_text("name: b\n")
    assert find_commit(repository) == {"commit": commit, "dirty": True}


def test_the_callers_own_repository_is_not_meant(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert find_commit(tmp_path) is None


def test_no_repository_no_commit_no_git(tmp_path, repository, monkeypatch):
    assert find_commit(tmp_path) is None
    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)
    assert find_commit(tmp_path / "empty") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_commit(repository) is None
