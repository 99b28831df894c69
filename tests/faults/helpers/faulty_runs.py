"""A project with a plugin that misbehaves, and what must become of its runs."""

import itertools
import json

from faulty_plugin import PLUGIN
from real_run import RUN

# What each way to misbehave makes of a candidate: its status, and what its row in the table says.
HOWS = {
    "raise": ("failed", "ValueError: faulty on purpose"),
    "exit": ("failed", "SystemExit: 3"),
    "die": ("failed", "the child process ended with exit code 7"),
    "print": ("ok", None),
}
HOOKS = {"x_learns": ("attach", "loss", "merge"), "x_answers": ("fit", "predict", "save", "load")}
OF_A_CANDIDATE = [(method, at, how) for method, hooks in HOOKS.items() for at in hooks for how in HOWS]
OF_THE_RUN = list(itertools.product(("rows", "example", "question", "value", "row"), HOWS))
DEADLY = {
    "raising": "raise ValueError('no')",
    "exiting": "raise SystemExit(3)",
    "dying": "import os; os._exit(7)",
}
COLOURS = """
name: colours
base: {base}
task: x_colour
data: {{train: train.bars, test: test.bars}}
methods: [zero_shot]
"""


def entry(method, at, how):
    return {method: {"at": at, "how": how, **({"epochs": 1} if method == "x_learns" else {})}}


def make_faulty(project, base):
    """The project with a plugin that is as faulty as it is told to be, and three that cannot be imported."""
    project.install("faulty", PLUGIN)
    for name, module in DEADLY.items():
        project.install(name, module)
    for name in ("train", "test"):
        lines = map(json.loads, (project.folder / f"{name}.jsonl").read_text().splitlines())
        text = "\n".join(f"{line['text']}|{line['colour']}" for line in lines)
        (project.folder / f"{name}.bars").write_text(text)
    (project.folder / "bars.yaml").write_text(COLOURS.format(base=base))
    return project


def climb(shell, cases):
    methods = ["zero_shot", *(entry(*case) for case in cases)]
    ended = shell.stepladder(*RUN, "--set", f"methods={json.dumps(methods)}")
    assert ended.code == 0, ended.said
    zero_shot, *others = shell.project.result()["candidates"]
    assert zero_shot["status"] == "ok"
    for case, found in zip(cases, others, strict=True):
        assert (found["method"], found["settings"]["at"], found["settings"]["how"]) == case
        status, error = HOWS[case[2]]
        assert found["status"] == status, (case, found["error"])
        assert error is None or error in found["error"], case
    return ended


def command_of(hook, how):
    return ["run", "bars.yaml", "--engine", "inline", "--runs", f"{hook}-{how}"]


def check_run(shell, hook, how):
    """A hook of the whole run: the run fails and says of what, or is done where it was only loud."""
    ended = shell.stepladder(*command_of(hook, how), FAULT=f"{hook}:{how}")
    status, error = HOWS[how]
    assert ended.code == (0 if status == "ok" else 1), (hook, how, ended.said)
    assert "Traceback" not in ended.err, (hook, how, ended.said)
    assert error is None or error in ended.said, (hook, how, ended.said)


def mend(project):
    """Another version of the plugin: its steps are new ones."""
    project.install("faulty", f"{PLUGIN}\n# mended\n")
