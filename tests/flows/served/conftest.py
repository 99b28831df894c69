"""A project with two sets of rows on the tiny base, and the real command in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
name: colours
base: {base}
task: classify
data:
  train: {train}.jsonl
  test: test.jsonl
  columns: {{input: text, label: colour}}
  instruction: which colour is the car ?
methods: {methods}
register: colours
promote: {{gates: [minimum: {{value: {least}}}]}}
"""
# Runs commands one after the other as the console script does, with one fork server for them all.
SHELL = """
import contextlib, io, json, sys
from stepladder.flows.cli import main
for name, arguments in json.load(sys.stdin).items():
    sys.argv = ["stepladder", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps({"name": name, "code": code, "out": out.getvalue(), "err": err.getvalue()}))
"""


class Project:
    """A folder with configs, rows, and everything that Stepladder and Prefect keep."""

    def __init__(self, folder, base):
        self.folder, self.base = folder, base

    def config(self, name, methods="[zero_shot]", train="train", least=0):
        text = CONFIG.format(base=self.base, methods=methods, train=train, least=least)
        (self.folder / f"{name}.yaml").write_text(text)

    @property
    def environment(self):
        foreign = ("MLFLOW_", "PREFECT_", "STEPLADDER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"STEPLADDER_HOME": str(self.folder / "home"), "PWD": str(self.folder), "PATH": path}
        return {**kept, **own, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def stepladder(self, commands, **more):
        """How each command ended: code, out and err."""
        done = subprocess.run(
            [sys.executable, "-c", SHELL],
            cwd=self.folder,
            env={**self.environment, **more},
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            check=False,
        )
        ended = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(ended) == len(commands), done.stderr
        return {each["name"]: each for each in ended}


def rows():
    """96 different rows; those of test come last."""
    things = [
        f"{owner} {thing}" for owner in ("my", "your", "the") for thing in ("car", "house", "door", "paint")
    ]
    return [
        {"text": f"{thing} {verb} {shade} {colour}", "colour": colour}
        for thing in things
        for verb in ("is", "was")
        for shade in ("very", "quite")
        for colour in ("red", "blue")
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    folder = tmp_path_factory.mktemp("project")
    every = rows()
    for name, part in {"train": every[:60], "more": every[:72], "test": every[72:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return Project(folder, base_folder)
