"""Packages made from runs on the tiny base, one for each way in which a task is answered."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

import climbing


@pytest.fixture(scope="session")
def own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, and no GPU."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPLADDER_HOME", str(home))
        patch.setattr("torch.cuda.is_available", lambda: False)
        yield home


@pytest.fixture(scope="session")
def made(
    own_machine: Path, base_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The package of one of the runs, made once; not to be changed."""
    from stepladder.core.package.pack import pack
    from stepladder.core.package.verify import verify_package

    packages: dict[str, Path] = {}
    folder = tmp_path_factory.mktemp("runs")

    def make(name: str) -> Path:
        if name not in packages:
            rows, changes = climbing.RUNS[name]
            run = climbing.climb(folder / name, base_folder, rows(), changes)
            package = folder / f"{name}-package"
            package.mkdir()
            verify_package(package, pack(run.contents(), package))
            packages[name] = package
        return packages[name]

    return make


@pytest.fixture
def package(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of such a package, to be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(made(name), tmp_path / name))

    return copy
