"""A run is killed with SIGKILL at moments drawn by a seed; the next one ends as if nothing had happened.

20 times by the engine without an orchestrator, at least once in every step, between the manifest and the
rename of a finished step, and between the making of a version and its alias; 5 times under Prefect. All
share one home, as the runs of a user do; each has a folder of runs and a registered model of its own.
"""

import contextlib
import json
import random
import re
import sqlite3
import time
from dataclasses import dataclass, replace

import psutil
import pytest
from real_run import Project, Shell, make_project, open_shell

CANDIDATE = """
checkpoint: {every: 2}
retain: {text: retain.jsonl}
"""
METHODS = '[{"lora": {"rank": 2, "epochs": 6}}]'
STEPS = (
    *("plan", "read", "render", "retention", "fit", "merge", "evaluate"),
    *("compare", "record", "register", "report"),
)
WAIT_SECONDS = 300
EARLY = 0.2  # so soon after its beginning a step is not over, however the machine's load changes
# Loaded by every process of the project before anything else: the folder of such a step is never renamed.
HOLD = """
import os, time
true = os.rename
def held(old, new, **more):
    step = os.environ.get("NEVER_RENAMED")
    while step and os.path.basename(old).startswith(step) and str(old).endswith(".partial"):
        time.sleep(1)
    return true(old, new, **more)
os.rename = held
"""

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Moment:
    """When so much of a step's usual time is over; or when a file or a version has just been made."""

    step: str
    share: float = 0.0
    made: str = ""

    @property
    def is_sure(self):
        return bool(self.made) or self.share <= EARLY

    def __str__(self):
        return f"{self.step}-{self.made or f'{self.share:.2f}'}"


def moments(seed, steps, more):
    """One early enough in each of the steps to meet it for sure, then others at any time of any step."""
    rng = random.Random(seed)
    sure = [Moment(step, round(rng.uniform(0, EARLY), 2)) for step in steps]
    return [*sure, *(Moment(step, round(rng.random(), 2)) for step in rng.choices(STEPS, k=more))]


INLINE = [*moments(1, STEPS, 7), Moment("fit", made="manifest"), Moment("register", made="version")]
UNDER_PREFECT = moments(2, ("fit", "record", "register"), 2)


@dataclass(frozen=True)
class Reference:
    """What a run leaves that nobody kills, and how long each of its steps takes."""

    weights: dict
    scores: dict
    seconds: dict


@dataclass(frozen=True)
class Case:
    """A run with a name, a registered model and a folder of runs of its own."""

    name: str
    project: Project

    @property
    def command(self):
        named = ("--set", f"name={self.name}", "--set", f"register={self.name}", "--runs", self.name)
        return ("run", "colours.yaml", "--set", f"methods={METHODS}", *named)

    def versions(self):
        return [version for name, version in self.project.versions() if name == self.name]

    def has_alias(self):
        asked = "select * from registered_model_aliases where name = ?"
        with contextlib.closing(sqlite3.connect(self.project.database, timeout=60)) as connection:
            return bool(connection.execute(asked, [self.name]).fetchall())

    def steps(self, pattern):
        return list(self.project.runs.glob(f"steps/{pattern}"))

    def assert_equal(self, reference):
        assert self.project.weights(self.name) == reference.weights
        assert self.project.scores(self.name) == reference.scores
        assert self.versions() == [1]
        assert self.has_alias()


def make_case(project, name):
    return Case(name, replace(project, runs_name=name))


@pytest.fixture(scope="module")
def project(tmp_path_factory, base_folder):
    project = make_project(tmp_path_factory.mktemp("kills"), base_folder)
    with (project.folder / "colours.yaml").open("a") as config:
        config.write(CANDIDATE)
    text = json.dumps({"text": "The sky looks very bright today. My car is quite red. " * 10})
    (project.folder / "retain.jsonl").write_text(f"{text}\n" * 40)
    (project.folder / "site").mkdir()
    (project.folder / "site" / "sitecustomize.py").write_text(HOLD)
    return project


@pytest.fixture(scope="module")
def shell(project):
    with open_shell(project) as shell:
        yield shell


@pytest.fixture(scope="module")
def reference(project, shell):
    """Of a second run: the first also makes what a home has but once."""
    for name in ("first", "reference"):
        case, started = make_case(project, name), time.monotonic()
        ended = shell.stepladder(*case.command, "--engine", "inline")
        assert ended.code == 0, ended.said
    outcomes = {path.parent.name: json.loads(path.read_text()) for path in case.steps("*/outcome.json")}
    seconds = {step.partition("-")[0]: outcome["seconds"] for step, outcome in outcomes.items()}
    assert set(seconds) == set(STEPS) - {"plan"}
    seconds["plan"] = min(5.0, time.monotonic() - started - sum(seconds.values()))
    return Reference(case.project.weights(case.name), case.project.scores(case.name), seconds)


def await_moment(case, moment, running, seconds):
    """Returns when it has come, or when the run has ended before."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not has_come(case, moment, running) and running.process.poll() is None:
        assert time.monotonic() < deadline, moment
        time.sleep(0.005)
    time.sleep(moment.share * seconds[moment.step])  # a moment within the step is what is meant


def has_come(case, moment, running):
    if moment.step == "plan":
        return plans(running)
    if moment.made == "version":
        return bool(versions_now(case))
    return bool(case.steps(f"{moment.step}-*.partial{'/manifest.json' if moment.made else ''}"))


def plans(running):
    """Whether the fork server of a command has a child."""
    with contextlib.suppress(psutil.Error):
        return any(each.children() for each in psutil.Process(running.process.pid).children())
    return False


def versions_now(case):
    with contextlib.suppress(sqlite3.Error):
        return case.versions()
    return []


def where(case):
    """The step that the kill has met, as what lies there tells."""
    for partial in case.steps("*.partial"):
        kind = partial.name.partition("-")[0]
        if (partial / "manifest.json").exists():
            return f"{kind}, between its manifest and its rename"
        if kind == "register" and versions_now(case) and not case.has_alias():
            return f"{kind}, between the version and its alias"
        return kind
    if list(case.project.runs.glob(f"{case.name}-*/result.json")):
        return "no step: it was over"
    return "no step: between two" if case.steps("*") else "plan"


def kill(case, moment, command, reference):
    """Where the kill has met the run: where it was to, unless a step may have been quicker."""
    held = {"NEVER_RENAMED": f"{moment.step}-"} if moment.made == "manifest" else {}
    running = case.project.start(*command, **held)
    await_moment(case, moment, running, reference.seconds)
    running.kill()
    met = where(case)
    assert met.startswith(moment.step) or not moment.is_sure, met
    assert "between" in met or not moment.made, met
    return met


@pytest.fixture
def case(request, project):
    engine = "prefect" if "prefect" in request.node.name else "inline"
    name = f"{engine}-{request.node.callspec.id}"
    return make_case(project, re.sub(r"[^a-z0-9]+", "-", name))


@pytest.mark.parametrize("moment", INLINE, ids=str)
def test_inline_the_next_run_ends_as_if_nobody_had_been_killed(
    case, shell, moment, reference, record_property
):
    command = (*case.command, "--engine", "inline")
    record_property("killed in", kill(case, moment, command, reference))
    again = Shell(case.project, shell.opened)
    ended = again.stepladder(*command)
    assert ended.code == 0, ended.said
    case.assert_equal(reference)
    again.assert_nothing_is_left()


@pytest.mark.parametrize("moment", UNDER_PREFECT, ids=str)
def test_under_prefect_it_does_so_too(case, shell, moment, reference, record_property):
    record_property("killed in", kill(case, moment, case.command, reference))
    ended = case.project.stepladder(*case.command)
    assert ended.code == 0, ended.said
    case.assert_equal(reference)
    Shell(case.project, shell.opened).assert_nothing_is_left()
