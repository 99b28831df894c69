"""The command as users run it: its output, its exit codes, and how long it takes to answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stepladder import __version__
from stepladder.core.discovery import listing
from stepladder.flows.cli import main

CONFIG = """
name: intents
task: classify
data: {train: train.jsonl, test: test.jsonl, validation: 0.5}
methods: [zero_shot, {lora: {rank: [4, 8]}}]
"""
CLUMSY = """
from stepladder.core.hookspecs import hookimpl
from stepladder.core.method import Adapted, Method, Task
STEPLADDER_API = 1

class Clumsy(Task):
    name = "clumsy"
    summary = "fails by itself"
    columns = {"input": "", "label": ""}
    answering = "generate"
    metrics = ("accuracy",)
    chooses_by = "accuracy"
    def example(self, row_id, fields): return fields["no such field"]
    def question(self, example, style, instruction, labels): return ""

class Fitting(Method):
    name = "fitting"
    rung = 0
    summary = "does what nothing else does"
    answers = ("generate",)
    adapted = Adapted
    def fit(self, base, data, context): ...

@hookimpl
def stepladder_tasks(): return [Clumsy]

@hookimpl
def stepladder_methods(): return [Fitting]
"""


@dataclass(frozen=True)
class Done:
    exit_code: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A STEPLADDER_HOME whose listing is cached; the environment is restored afterwards."""
    before, home = dict(os.environ), tmp_path_factory.mktemp("home")
    os.environ |= {"STEPLADDER_HOME": str(home), "COLUMNS": "80"}
    listing()
    yield home
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def stepladder(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["stepladder", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config and its rows, as the current folder."""
    rows = [{"input": f"row {number}", "label": "ab"[number % 2]} for number in range(20)]
    for name, part in (("train", rows[:16]), ("test", rows[16:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (tmp_path / "run.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a distribution by hand, and put it on the path."""

    def install_plugin(name: str, source: str) -> None:
        info = tmp_path / f"{name}-0.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2\n")
        (info / "entry_points.txt").write_text(f"[stepladder.plugins]\n{name} = {name}_module\n")
        (tmp_path / f"{name}_module.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        modules.add(f"{name}_module")

    modules: set[str] = set()
    yield install_plugin
    for module in modules:
        sys.modules.pop(module, None)


def answer_apart(*arguments: str) -> tuple[float, set[str]]:
    """Seconds that a process of its own takes to answer, and the modules that it imported."""
    code = (
        "import sys, atexit; from stepladder.flows.cli import main;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, set(done.stderr.split())


@pytest.mark.parametrize(("arguments", "bound"), [(["--help"], 2), (["methods"], 4), (["run", "--help"], 2)])
def test_what_there_is_is_told_quickly_without_heavy_imports(
    home: Path, arguments: list[str], bound: float
) -> None:
    seconds, modules = min(answer_apart(*arguments) for _ in range(3))
    assert modules.isdisjoint({"torch", "transformers", "prefect", "mlflow", "datasets", "pyarrow", "numpy"})
    assert "stepladder.plugins.methods.lora" not in modules
    assert seconds < bound


def test_help_lists_every_command_with_one_line(stepladder: Command) -> None:
    asked = stepladder("--help")
    assert asked.exit_code == 0
    modules = Path(sys.modules["stepladder"].__file__ or "").parent.glob("flows/commands/*.py")
    lines = [line for line in asked.stdout.partition("Commands:")[2].split("\n") if line.strip()]
    names = {path.stem.replace("_", "-") for path in modules if path.stem != "__init__"}
    assert {line.split()[0] for line in lines} == names
    words = [" ".join(line.split()) for line in lines]
    assert "check Tell all faults of a config, or all its settings." in words


def test_the_version(stepladder: Command) -> None:
    assert stepladder("--version") == Done(0, f"stepladder {__version__}\n", "")


def test_methods_are_listed_from_the_lowest_rung(stepladder: Command) -> None:
    lines = stepladder("methods").stdout.splitlines()
    assert lines[0].split() == ["rung", "method", "tasks", "summary"]
    rungs = [float(line.split()[0]) for line in lines[1:]]
    assert rungs == sorted(rungs)
    assert "zero_shot" in [line.split()[1] for line in lines[1:] if line.split()[0] == "0"]
    listed = json.loads(stepladder("methods", "--json").stdout)
    assert [method["name"] for method in listed] == [line.split()[1] for line in lines[1:]]
    assert {method["plugin"] for method in listed if method["name"] == "zero_shot"} == {"methods.zero_shot"}


def test_a_faulty_plugin_is_listed_with_its_error_on_one_line(
    stepladder: Command, install: Callable[[str, str], None]
) -> None:
    install("broken", "raise ValueError('[bold]no[/bold]\\nkey')")
    done = stepladder("plugins")
    assert done.exit_code == 0
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("broken")]
    assert line.split()[:4] == ["broken", "broken", "0.2", "disabled"]
    assert line.rstrip().endswith("cannot be imported: ValueError: [bold]no[/bold] key")


def test_check_says_ok_and_shows_every_setting_with_its_origin(stepladder: Command, folder: Path) -> None:
    done = stepladder("check", "run.yaml", "--set", "methods.lora.epochs=2")
    assert (done.exit_code, done.stderr) == (0, "")
    first, _, *table = done.stdout.splitlines()
    assert first.startswith("ok: 3 candidates, base smollm2-135m-instruct, rows train ")
    assert first.endswith(", test 4")
    rows = [(line.split()[0], line.split()[1], line.split()[-1]) for line in table]
    assert rows[0] == ("setting", "value", "from")
    assert ("name", "intents", "file") in rows
    assert ("choose.metric", "accuracy", "default") in rows
    assert ("methods.lora-rank8.rank", "8", "file") in rows
    assert ("methods.lora-rank8.epochs", "2.0", "flag") in rows


def test_check_as_json_is_what_a_run_would_be_given(stepladder: Command, folder: Path) -> None:
    checked = json.loads(stepladder("check", folder / "run.yaml", "--json").stdout)
    assert [candidate["id"] for candidate in checked["candidates"]] == [
        "zero_shot",
        "lora-rank4",
        "lora-rank8",
    ]
    assert checked["config"]["data"]["train"] == str(folder / "train.jsonl")
    assert checked["data"]["test"]["kept"] == 4
    assert checked["data"]["train"]["kept"] + checked["data"]["validation"]["kept"] == 16


def test_wrong_input_ends_with_2_and_all_faults_on_stderr(stepladder: Command, folder: Path) -> None:
    (folder / "run.yaml").write_text(CONFIG.replace("test.jsonl", "tset.jsonl").replace("lora", "loar"))
    assert stepladder("check", "run.yaml") == Done(
        2,
        "",
        "stepladder: run.yaml: 2 faults\n"
        f"  - data.test: no such file: {folder}/tset.jsonl (did you mean 'test.jsonl'?)\n"
        "  - methods: no method 'loar' (did you mean 'lora'?); `stepladder methods` lists them\n",
    )


def test_rows_that_no_run_could_use_are_wrong_input_too(stepladder: Command, folder: Path) -> None:
    (folder / "test.jsonl").write_text('{"text": "a", "label": "a"}\n')
    done = stepladder("check", "run.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert str(folder / "test.jsonl") in done.stderr


def test_a_base_that_cannot_be_loaded_is_a_fault(stepladder: Command, folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    done = stepladder("check", "run.yaml", "--set", "base=model")
    assert done.exit_code == 2
    assert f"- base: {folder}/model: expected weights as .safetensors" in done.stderr


def test_an_unexpected_error_is_one_line_unless_debugged(
    stepladder: Command, folder: Path, install: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("clumsy", CLUMSY)
    (folder / "run.yaml").write_text(CONFIG.replace("classify", "clumsy").replace("zero_shot", "fitting"))
    methods = "--set=methods=[fitting]"
    done = stepladder("check", "run.yaml", methods)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "stepladder: unexpected KeyError: 'no such field' (`stepladder --debug ...` shows where)\n"
    )
    monkeypatch.setenv("STEPLADDER_DEBUG", "")  # the option sets it, and the test restores it
    debugged = stepladder("--debug", "check", "run.yaml", methods)
    assert debugged.exit_code == 1
    assert debugged.stderr.startswith("Traceback (most recent call last):\n")
    assert debugged.stderr.endswith(done.stderr)
    assert "clumsy_module.py" in debugged.stderr


def test_a_misspelt_command_is_answered_with_the_nearest(stepladder: Command) -> None:
    done = stepladder("chekc")
    assert done.exit_code == 2
    assert "Did you mean 'check'?" in done.stderr
