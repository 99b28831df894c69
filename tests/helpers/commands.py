"""`stepladder` as its console script runs it, one command after the other in one process.

They share a fork server, with the libraries that it holds: a command takes as long as its own work.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOREIGN = ("MLFLOW_", "PREFECT_", "STEPLADDER_")
PATIENCE = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300"}  # of a machine that does much else
SHELL = """
import contextlib, io, json, os, sys
from stepladder.flows.cli import main
for line in sys.stdin:
    arguments, environment = json.loads(line)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["stepladder", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    heavy = [name for name in ("torch", "transformers", "mlflow", "prefect") if name in sys.modules]
    print(json.dumps([code, out.getvalue(), err.getvalue(), heavy]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and which heavy libraries its process, the parent of all steps, held then."""

    code: int
    out: str
    err: str = ""
    heavy: Sequence[str] = ()

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Shell:
    process: subprocess.Popen[str]
    environment: Mapping[str, str]

    def stepladder(self, *arguments: object, **environment: str) -> Ended:
        told = json.dumps([list(map(str, arguments)), {**self.environment, **environment}])
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(told + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"`stepladder {' '.join(map(str, arguments))}` took the process along"
        return Ended(*json.loads(line))


@contextlib.contextmanager
def open_shell(folder: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """Commands run in `folder`."""
    command = [sys.executable, "-c", SHELL]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=dict(environment), text=True, **pipes) as process:
        yield Shell(process, environment)
        assert process.stdin
        process.stdin.close()


def environment_in(home: Path, **more: str) -> dict[str, str]:
    """That of the tests with a home of its own, and without anybody's addresses and accounts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    if "PYTHONPATH" in more:
        paths = filter(None, (more["PYTHONPATH"], kept.get("PYTHONPATH")))
        more["PYTHONPATH"] = os.pathsep.join(paths)
    own = {"STEPLADDER_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return {**kept, **PATIENCE, **own, **more}


def in_turn(commands: Mapping[str, Sequence[str]], folder: Path, **environment: str) -> dict[str, Ended]:
    """How each command ended, by its name; their home lies in `folder`, in which they run."""
    with open_shell(folder, environment_in(folder / "home", **environment)) as shell:
        return {name: shell.stepladder(*arguments) for name, arguments in commands.items()}
