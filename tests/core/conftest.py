"""A real distribution, written by hand: metadata and one module on a path of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("markov", source)` makes the plugin `markov` of distribution `markov` 0.2 discoverable."""

    def install_plugin(
        name: str, source: str, distribution: str | None = None, module: str | None = None
    ) -> Path:
        distribution = distribution or name
        module = module or f"{distribution}_module".replace("-", "_")
        site = tmp_path / "site" / distribution
        info = site / f"{distribution.replace('-', '_')}-0.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.2\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write(f"[stepladder.plugins]\n{name} = {module}\n")
        path = site / f"{module}.py"
        path.write_text(source)
        monkeypatch.syspath_prepend(site)
        modules.add(module)
        return path

    modules: set[str] = set()
    yield install_plugin
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is written into the user's own folder, or changed by the user's own lists."""
    monkeypatch.setenv("STEPLADDER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STEPLADDER_PLUGINS_ALLOW", raising=False)
    monkeypatch.delenv("STEPLADDER_PLUGINS_DENY", raising=False)
    return tmp_path / "home"
