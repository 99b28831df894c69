"""The package of a chosen candidate as a model of MLflow: pyfunc from code, with all that it needs beside it.

The code is `loader.py`; beside it, as the artifact `served`, lies what `core/package` makes and reads. Tags
of the version hold the hash of both, so that neither can change unnoticed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas  # type: ignore[import-untyped]
from mlflow import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

from ..errors import ModelError
from ..package.layout import CANDIDATE, LINEAGE, MANIFEST, SERVED, asked_rows, read_json, sha256
from .faults import is_missing, mlflow_answers

if TYPE_CHECKING:
    from .versions import Version

FINGERPRINT, LOADER_SHA256 = "stepladder.fingerprint", "stepladder.loader_sha256"
PACKAGE_SHA256 = "stepladder.package_sha256"  # of its manifest
LOADER = Path(__file__).with_name("loader.py")
PACKAGE = "artifacts/served"
LIBRARIES = ("stepladder", "torch", "transformers")
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is registered under `name`: the run, the candidate's entry, MLflow's run of the candidate.

    `pack` fills an empty folder with the package, and raises unless that is as it should be; it is called
    only where there is no version of this run yet.
    """

    name: str
    run: Mapping[str, Any]
    entry: Mapping[str, Any]
    run_id: str
    pack: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Logged:
    """A package in MLflow: its URI, and the tags of the version that is to be made of it."""

    uri: str
    tags: Mapping[str, str]


def log_package(chosen: Chosen) -> Logged:
    """Pack the candidate and log it to its run. Raises what `pack` raises; then nothing is logged."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "served"
        package.mkdir()
        chosen.pack(package)
        return Logged(_log(package, chosen.run_id), _tags(package, chosen))


@mlflow_answers()
def check_tags(version: Version, package: Path) -> None:
    """Raises ModelError where the version's loader, or its downloaded `package`, is not what was registered.

    To be asked before either is run or loaded. What a version has no tag for passes.
    """
    _check_tag(version, PACKAGE_SHA256, package / MANIFEST)
    if LOADER_SHA256 in version.tags:
        with tempfile.TemporaryDirectory() as folder:
            _check_tag(version, LOADER_SHA256, _fetch(version, LOADER.name, folder))


@mlflow_answers()
def read_about(version: Version) -> dict[str, Any]:
    """What the package says of itself, without its weights: candidate, lineage and serving.

    Raises ModelError where there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [_fetch(version, f"{PACKAGE}/{name}", folder) for name in (CANDIDATE, LINEAGE, SERVED)]
        candidate, lineage, serving = (read_json(file.parent, file.name) for file in files)
    return {**candidate, "lineage": lineage, "serving": serving}


def _check_tag(version: Version, tag: str, file: Path) -> None:
    expected = version.tags.get(tag)
    found = sha256(file) if file.is_file() else "no such file"
    if expected and found != expected:
        raise ModelError(
            f"version {version.version} of {version.name}: {file.name} is not what was registered (tag "
            f"{tag}: sha256 expected {expected[:12]}, found {found[:12]}): do not load it; delete the "
            "version and register its run again"
        )


def files_at(uri: str) -> set[str]:
    """Names in that folder of a version; to fetch what is not there fails in many ways over the wire."""
    try:
        return {Path(file.path).name for file in mlflow.artifacts.list_artifacts(artifact_uri=uri)}
    except MlflowException as error:
        if not is_missing(error):
            raise
        return set()


def _fetch(version: Version, file: str, folder: str) -> Path:
    """Download one file of the version into `folder`. Raises ModelError where there is none."""
    place, _, name = f"{version.uri}/{file}".rpartition("/")
    if name not in files_at(place):
        raise ModelError(
            f"version {version.version} of {version.name} has no {file}: its files are gone, or it was "
            "registered by an earlier Stepladder; register its run again"
        )
    return Path(mlflow.artifacts.download_artifacts(f"{place}/{name}", dst_path=folder))


class _PyfuncUntried:
    """MLflow's pyfunc, saved without its trial of the input example, which would load the base once more."""

    @staticmethod
    def save_model(path: str, mlflow_model: Model, validate_serving_input: bool, **given: Any) -> None:
        assert not validate_serving_input, "the package has been tried by who packed it"
        mlflow.pyfunc.save_model(path, mlflow_model=mlflow_model, **given)


def _log(package: Path, run_id: str) -> str:
    rows = asked_rows(package)
    with mlflow.start_run(run_id=run_id):
        info = Model.log(
            artifact_path=None,
            name="model",
            flavor=_PyfuncUntried,
            flavor_name="pyfunc",
            validate_serving_input=False,
            python_model=str(LOADER),
            artifacts={"served": str(package)},
            signature=ModelSignature(Schema(_columns(rows)), Schema([ColSpec("string")])),
            input_example=pandas.DataFrame(rows[:1]),  # as a table, MLflow's server takes lists in it too
            pip_requirements=_requirements(read_json(package, LINEAGE)),
        )
    uri: str = info.model_uri
    return uri


def _columns(rows: list[dict[str, Any]]) -> list[ColSpec]:
    """The columns that a user of the package gives."""
    task = [ColSpec("string", "task")] if any("task" in row for row in rows) else []
    if any("messages" in row for row in rows):
        turn = Object([Property("role", DataType.string), Property("content", DataType.string)])
        columns = [ColSpec("string", "input", required=False)]
        return [*columns, ColSpec(Array(turn), "messages", required=False), *task]
    options = [ColSpec(Array(DataType.string), "options")] if any("options" in row for row in rows) else []
    return [ColSpec("string", "input"), *options, *task]


def _requirements(lineage: Mapping[str, Any]) -> list[str]:
    """The libraries, and the packages of the plugins, that the candidate was made with."""
    plugins = (said.split()[0] for said in lineage["plugins"].values())
    libraries = dict.fromkeys([*LIBRARIES, *plugins])
    # The part behind a plus names a build, which no index has.
    return [f"{library}=={installed(library).partition('+')[0]}" for library in libraries]


def _tags(package: Path, chosen: Chosen) -> dict[str, str]:
    licenses, base = read_json(package, LINEAGE)["licenses"], read_json(package, SERVED)["base"]
    return {
        FINGERPRINT: chosen.run["fingerprint"],
        LOADER_SHA256: sha256(LOADER),
        PACKAGE_SHA256: sha256(package / MANIFEST),
        "stepladder.candidate": chosen.entry["id"],
        "stepladder.method": chosen.entry["method"],
        "stepladder.run_dir": chosen.run["run_dir"],
        "stepladder.base": base["name"],
        "stepladder.base_fingerprint": base["fingerprint"],
        "stepladder.license.base": licenses["base"] or UNKNOWN,
        "stepladder.license.data": licenses["data"] or UNKNOWN,
    }
