"""Planted secrets are used, and then stand in no file, in no database and in no log."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "model" / "helpers"))
from stub_endpoint import Reply, says, serving

BY_VARIABLE, BY_BLOCK = "sk-planted-in-the-environment", "sk-planted-in-a-block-of-prefect"
PLANTED = [BY_VARIABLE, BY_BLOCK]

pytestmark = pytest.mark.faults  # Prefect's own start takes a while

SAVE = """
import sys
from stepladder.core.environment import bootstrap
bootstrap()
from prefect.blocks.system import Secret
Secret(value=sys.argv[1]).save("stub-key")
"""
CONFIG = """
name: {name}
base: {base}
endpoint: {{key: {key}, retries: 0}}
task: classify
data: {{train: train.jsonl, test: test.jsonl, columns: {{input: text, label: colour}}}}
methods: [zero_shot, few_shot]
register: {name}
"""


@contextlib.contextmanager
def zero_shot_alone():
    """A rule by which demonstrations are refused, and the key that was sent is quoted, as some hosts do."""

    def rule(body):
        if len(body["messages"]) == 1:
            return says("red", prompt_tokens=10, completion_tokens=2)
        return Reply(f"Incorrect key: {stub.keys[-1].removeprefix('Bearer ')}".encode(), 401)

    with serving(rule) as stub:
        yield stub


def save_block(project, block):
    """As somebody who uses the same Prefect does."""
    environment = project.environment(**of_prefect(project))
    command = [sys.executable, "-c", SAVE, block]
    saved = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert saved.returncode == 0, saved.stderr


def of_prefect(project):
    """Where its Prefect keeps all, whatever this machine's has."""
    folder = project.home / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    return {"PREFECT_HOME": str(folder)}


def climb(project, stub, name, key, engine, **environment):
    (project.folder / f"{name}.yaml").write_text(CONFIG.format(name=name, base=stub.base(), key=key))
    command = ("--debug", "run", f"{name}.yaml", "--engine", engine)
    return project.stepladder(*command, **of_prefect(project), **environment)


def holding(folder, secret):
    """The files in which the bytes of the secret stand."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if secret.encode() in path.read_bytes()]


def texts_of(database):
    """Every value of every table, as text: SQLite may break one over pages."""
    with sqlite3.connect(database) as connection:
        tables = [
            name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        ]
        rows = [row for name in tables for row in connection.execute(f'select * from "{name}"')]
    return "\n".join(str(value) for row in rows for value in row)


def test_planted_secrets_are_found_nowhere(project, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("t")  # short: the fork server's socket lies in it
    save_block(project, BY_BLOCK)
    with zero_shot_alone() as stub:
        by_block = climb(
            project, stub, "block", "{prefect_secret: stub-key}", "prefect", TMPDIR=str(temporary)
        )
        by_variable = climb(
            project,
            stub,
            "variable",
            "{env: STUB_KEY}",
            "inline",
            STUB_KEY=BY_VARIABLE,
            TMPDIR=str(temporary),
        )
    assert (by_block.code, by_variable.code) == (0, 0), by_block.said + by_variable.said
    project.assert_nothing_is_left()  # Prefect's server writes until it is gone
    assert set(stub.keys) == {f"Bearer {secret}" for secret in PLANTED}
    assert project.versions() == [("block", 1), ("variable", 1)]
    (prefect,) = (project.home / "prefect").glob("*.db")
    told = by_block.said + by_variable.said + texts_of(prefect) + texts_of(project.database)
    assert "Incorrect key: [key]" in told, "the host's words are handed on, less the key"
    for secret in PLANTED:
        assert [each for place in (project.folder, temporary) for each in holding(place, secret)] == []
        assert secret not in told


def test_a_block_that_prefect_does_not_have_is_told_before_anything_is_asked(project):
    with zero_shot_alone() as stub:
        ended = climb(project, stub, "block", "{prefect_secret: stub-key}", "inline")
    assert ended.code == 2, ended.said
    assert "endpoint.key: Prefect has no Secret block 'stub-key': expected one" in ended.said
    assert stub.requests == []
