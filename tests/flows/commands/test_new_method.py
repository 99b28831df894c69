"""`new-method`: what it writes passes its own test, is a plugin, and what it does not write it explains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stepladder.core.discovery.contract import class_faults
from stepladder.core.errors import InputError
from stepladder.flows.commands.new_method import new_method


def test_the_package_passes_its_test_and_is_a_plugin(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    new_method("warm_start", rung=0.6)
    folder = tmp_path / "stepladder-warm-start"
    files = {"pyproject.toml", "stepladder_warm_start.py", "test_stepladder_warm_start.py"}
    assert {path.name for path in folder.iterdir()} == files
    assert "next: pip install -e stepladder-warm-start && pytest" in capsys.readouterr().out
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout

    monkeypatch.syspath_prepend(folder)
    import stepladder_warm_start as plugin

    (method,) = plugin.stepladder_methods()
    assert class_faults("method", [method]) == []
    assert (method.__name__, method.name, method.rung) == ("WarmStart", "warm_start", 0.6)
    assert 'warm_start = "stepladder_warm_start"' in (folder / "pyproject.toml").read_text()


def test_it_is_written_where_it_is_asked_for(tmp_path: Path):
    (tmp_path / "there").mkdir()
    new_method("shift", tmp_path / "there")
    assert (tmp_path / "there" / "stepladder_shift.py").is_file()
    assert "rung = 1.2" in (tmp_path / "there" / "stepladder_shift.py").read_text()


@pytest.mark.parametrize(
    "name, told",
    [
        ("My-Method", "expected small letters, digits and _, such as my_method, found 'My-Method'"),
        ("2fast", "found '2fast'"),
        ("class", "found 'class'"),
        ("lora", "'lora' is a method already, of the plugin methods.lora: take another"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, told: str):
    with pytest.raises(InputError, match=f"new-method: NAME: .*{told}"):
        new_method(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["full", "file"])
def test_what_lies_there_is_left_alone(tmp_path: Path, kind: str):
    place = tmp_path / "place"
    if kind == "full":
        place.mkdir()
        (place / "notes").write_text("mine")
    else:
        place.write_text("mine")
    with pytest.raises(InputError, match=r"expected a new or an empty folder: name another as DIR"):
        new_method("shift", place)
    assert (place / "notes" if kind == "full" else place).read_text() == "mine"
