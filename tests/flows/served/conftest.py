"""A project with two sets of rows on the tiny base, and the real command in it."""

import os
import sys
from pathlib import Path

import pytest
from colours import colour_rows, write_splits
from commands import environment_in, open_shell

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


class Project:
    """A folder with configs, rows, and everything that Stepladder and Prefect keep."""

    def __init__(self, folder, base):
        self.folder, self.base = folder, base

    def config(self, name, methods="[zero_shot]", train="train", least=0):
        text = CONFIG.format(base=self.base, methods=methods, train=train, least=least)
        (self.folder / f"{name}.yaml").write_text(text)

    @property
    def environment(self):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return environment_in(self.folder / "home", PWD=str(self.folder), PATH=path)

    def stepladder(self, commands, **more):
        with open_shell(self.folder, {**self.environment, **more}) as shell:
            return {name: shell.stepladder(*arguments) for name, arguments in commands.items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    folder = tmp_path_factory.mktemp("project")
    every = colour_rows()
    write_splits(folder, {"train": every[:60], "more": every[:72], "test": every[72:]})
    return Project(folder, base_folder)
