"""A small run by the real command, in a project of its own, and what must hold of that once it has ended.

A Project is a folder with rows, a config and a home. `Project.start` starts a command as a process that may
be killed; a Shell runs commands one after the other with one fork server for all, as quick as it gets.
"""

import contextlib
import fcntl
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import commands
import psutil
from colours import COLOURS, colour_rows, write_splits
from commands import Ended, environment_in

METHODS = """
methods:
  - zero_shot
  - lora: {{rank: 2, epochs: 1}}
register: colours
"""
COMMAND = [sys.executable, "-c", "from stepladder.flows.cli import main; main()"]
RUN = ("run", "colours.yaml", "--engine", "inline")
# What nobody may find once a run has ended well: names under which something is made.
HALF_WRITTEN = (".partial", ".gone", ".new", ".tmp")


@dataclass
class Running:
    """A command at work, the leader of a process group; `lines` is what it has said so far."""

    process: subprocess.Popen
    lines: list[str] = field(default_factory=list)

    def read_until(self, said):
        """Read its lines up to the first with that text in it; what came before is kept in `lines`."""
        for line in self.process.stdout:
            self.lines.append(line)
            if said in line:
                return line
        raise AssertionError(f"ended without {said!r}:\n{''.join(self.lines)}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self):
        self.lines += self.process.stdout
        return Ended(self.process.wait(), "".join(self.lines))


@dataclass(frozen=True)
class Project:
    folder: Path
    runs_name: str = "runs"

    @property
    def home(self):
        return self.folder / "home"

    @property
    def runs(self):
        return self.folder / self.runs_name

    @property
    def database(self):
        return self.home / "mlflow.db"

    def environment(self, **more):
        own = {"PYTHONPATH": str(self.folder / "site"), "PYTHONUNBUFFERED": "1"}
        return environment_in(self.home, **{**own, **more})

    def start(self, *arguments, **environment):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return Running(process)

    def stepladder(self, *arguments, **environment):
        """How a command in a process of its own ended."""
        return self.start(*arguments, **environment).wait()

    def install(self, name, module):
        """What installing a wheel of one module would leave."""
        (self.folder / "site").mkdir(exist_ok=True)
        (self.folder / "site" / f"{name}.py").write_text(module)
        about = self.folder / "site" / f"{name}-0.2.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2\n")
        (about / "entry_points.txt").write_text(f"[stepladder.plugins]\n{name} = {name}\n")

    def result(self, name="colours"):
        """Of the only run of that name."""
        (path,) = self.runs.glob(f"{name}-*/result.json")
        return json.loads(path.read_text())

    def scores(self, name="colours"):
        return {each["id"]: each["metrics"] for each in self.result(name)["candidates"]}

    def weights(self, name="colours"):
        """The hash of every file of weights that the candidates of a run have left, by its place."""
        (path,) = self.runs.glob(f"{name}-*/candidates")
        files = sorted(path.rglob("*.safetensors"))
        return {str(each.relative_to(path)): sha256(each) for each in files}

    def versions(self):
        """All registered versions as (name, version), read without MLflow."""
        if not self.database.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as connection:
            return connection.execute("select name, version from model_versions order by 1, 2").fetchall()

    def processes(self):
        """Everybody who lives in this home, whoever his parent is by now."""
        return [each for each in psutil.process_iter() if _home_of(each) == str(self.home)]

    def half_written(self):
        """Names of files and folders that are not what they are to become."""
        found = [*self.runs.rglob("*"), *self.home.rglob("*")]
        temporary = [each for each in found if each.name.endswith(HALF_WRITTEN)]
        scratch = [each for each in self.runs.glob("steps/*.scratch") if any(each.iterdir())]
        return sorted(str(each.relative_to(self.folder)) for each in (*temporary, *scratch))

    def held_locks(self):
        """Files that somebody holds a lock on."""
        places = [*self.runs.glob("steps/.locks/*"), *self.home.glob("locks/*")]
        return [str(each.relative_to(self.folder)) for each in places if _is_held(each)]

    def assert_nothing_is_left(self, but=()):
        """No process except those with the ids `but`, no lock, nothing half-written."""
        self.assert_nothing_runs(but)
        assert self.half_written() == [], self.half_written()

    def assert_nothing_runs(self, but=()):
        """No process except those, and no lock."""

        def orphans():
            return [each for each in self.processes() if each.pid not in but]

        wait_until(lambda: not orphans(), lambda: f"orphans: {orphans()}", 30)
        assert self.held_locks() == [], self.held_locks()


def _home_of(process):
    with contextlib.suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get("STEPLADDER_HOME")
    return None


def _is_held(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_until(condition, what, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what() if callable(what) else what}: not within {seconds} seconds"
        time.sleep(0.05)


def make_project(folder, base):
    write_splits(folder, {"train": colour_rows()[:72], "test": colour_rows()[72:]})
    (folder / "colours.yaml").write_text((COLOURS + METHODS).format(base=base))
    return Project(folder)


@dataclass(frozen=True)
class Shell:
    """`stepladder` in a project."""

    project: Project
    opened: commands.Shell

    def stepladder(self, *arguments, **environment):
        return self.opened.stepladder(*arguments, **self.project.environment(**environment))

    def assert_nothing_is_left(self):
        """Beside this shell with its fork server."""
        self.project.assert_nothing_is_left(but=self._own())

    def assert_nothing_runs(self):
        """Beside them; what a candidate that has failed may go on from lies there."""
        self.project.assert_nothing_runs(but=self._own())

    def _own(self):
        own = psutil.Process(self.opened.process.pid)
        return [own.pid, *(each.pid for each in own.children())]


@contextlib.contextmanager
def open_shell(project):
    with commands.open_shell(project.folder, project.environment()) as opened:
        yield Shell(project, opened)
