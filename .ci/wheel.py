"""Build the wheel, and import every module of the source tree from it, as a user without the tree would.

The list of packages in pyproject.toml is written by hand: a package that it lacks would only be missed
by those who install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "flows", "plugins")
IMPORT_ALL = """
import importlib, sys
import stepladder
assert stepladder.__file__.startswith(sys.argv[1]), f"imported {stepladder.__file__}, not the wheel"
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stepladder-wheel-") as name:
        folder = Path(name)
        site = unpack(build(folder), folder / "site")
        modules = source_modules()
        missing = [module for module in modules if not lies_in(site, module)]
        if missing:
            sys.exit(f"not in the wheel: {', '.join(missing)}; add their packages to pyproject.toml")
        environment = os.environ | {"PYTHONPATH": str(site), "STEPLADDER_HOME": str(folder / "home")}
        command = [sys.executable, "-c", IMPORT_ALL, str(site), *modules]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    sys.stdout.write(f"wheel: {len(modules)} modules imported\n")


def build(folder: Path) -> Path:
    """Build from a copy, so that no stale `build/` gets in and none is left."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, site: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def source_modules() -> list[str]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    parts = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    return [".".join(("stepladder", *part)).removesuffix(".__init__") for part in parts]


def lies_in(site: Path, module: str) -> bool:
    stem = site.joinpath(*module.split("."))
    return stem.with_suffix(".py").is_file() or (stem / "__init__.py").is_file()


if __name__ == "__main__":
    main()
