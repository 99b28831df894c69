"""The plugin of examples/plugin-ia3 as its users have it: built, installed beside us, and run unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from colours import COLOURS

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin-ia3"
METHODS = """
methods:
  - zero_shot
  - ia3: {{epochs: 1}}
"""


def call(command: list[str], folder: Path, site: Path) -> str:
    """What the command prints; it finds what is installed in `site`."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "STEPLADDER_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stepladder(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from stepladder.flows.cli import main; main()", *arguments]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package's wheel is installed, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip, site = [sys.executable, "-m", "pip"], folder / "site"
    wheel = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *wheel, str(folder / "source")], check=True)
    (built,) = folder.glob("*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(built)]
    subprocess.run([*pip, *install], check=True)
    return site


def test_it_is_small():
    files = [PACKAGE / "pyproject.toml", PACKAGE / "stepladder_ia3.py"]
    assert sum(len(file.read_text().splitlines()) for file in files) < 100


def test_its_own_tests_pass(site: Path, tmp_path: Path):
    shutil.copy(PACKAGE / "test_stepladder_ia3.py", tmp_path)
    assert "6 passed" in call(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], tmp_path, site
    )


@pytest.mark.slow
def test_it_runs_through_the_unchanged_pipeline(site: Path, tmp_path: Path, base_folder: Path):
    colours = ("red", "blue")
    rows = [
        {"text": f"the {thing} {verb} {shade} {colour}", "colour": colour}
        for thing in ("car", "house", "door", "paint")
        for verb in ("is", "was")
        for shade in ("very", "quite")
        for colour in colours
    ]
    for name, part in (("train", rows[:24]), ("test", rows[24:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (tmp_path / "colours.yaml").write_text((COLOURS + METHODS).format(base=base_folder))
    call(stepladder("run", "colours.yaml", "--engine", "inline"), tmp_path, site)
    (run,) = tmp_path.glob("runs/colours-*")
    result = json.loads((run / "result.json").read_text())
    (candidate,) = [each for each in result["candidates"] if each["id"] == "ia3"]
    assert (candidate["status"], candidate["rung"]) == ("ok", 1.4)
    assert candidate["cost"]["trainable_parameters"] == 3 * (16 + 16 + 48)
    about = json.loads((Path(candidate["artifact"]) / "adapter.json").read_text())
    assert (about["plugin"], about["plugin_version"]) == ("stepladder-ia3", "0.1")
    steps = (tmp_path / "runs" / "steps").glob("merge-*/result.json")
    (merged,) = [step for step in map(json.loads, map(Path.read_text, steps)) if step["merged"]]
    assert merged["largest_logit_difference"] < 1e-4
