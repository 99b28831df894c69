"""The package of a chosen candidate as a model of MLflow: pyfunc from code, with all that it needs beside it.

The code is `loader.py`; beside it lies the folder that `core/package/served.py` reads: `artifact/`,
`served.json` (which base) and `candidate.json` (its entry of result.json, for gates).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema

from ..files import link

FINGERPRINT, LOADER_SHA256 = "stepladder.fingerprint", "stepladder.loader_sha256"
LOADER = Path(__file__).with_name("loader.py")
LIBRARIES = ("stepladder", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is registered under `name`: the candidate's entry and artifact folder, its base, MLflow's run."""

    name: str
    entry: Mapping[str, Any]
    artifact: Path
    base: Mapping[str, Any] | None
    run: Mapping[str, Any]
    run_id: str


def version_tags(chosen: Chosen) -> dict[str, str]:
    """What the tags of its version say of a candidate."""
    return {
        FINGERPRINT: chosen.run["fingerprint"],
        LOADER_SHA256: hashlib.sha256(LOADER.read_bytes()).hexdigest(),
        "stepladder.candidate": chosen.entry["id"],
        "stepladder.method": chosen.entry["method"],
        "stepladder.run_dir": chosen.run["run_dir"],
        "stepladder.base_fingerprint": chosen.base["fingerprint"] if chosen.base else "",
    }


def log_package(chosen: Chosen) -> str:
    """Log the package to the candidate's run; returns its URI."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mlflow.start_run(run_id=chosen.run_id),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # advice to infer the signature, which is given
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(LOADER),
            artifacts={"served": str(_pack(chosen, Path(folder) / "served"))},
            signature=ModelSignature(Schema([ColSpec("string", "input")]), Schema([ColSpec("string")])),
            pip_requirements=[f"{library}=={installed(library)}" for library in LIBRARIES],
        )
    uri: str = info.model_uri
    return uri


def _pack(chosen: Chosen, folder: Path) -> Path:
    link(chosen.artifact, folder / "artifact")
    (folder / "served.json").write_text(json.dumps({"base": chosen.base}, indent=2))
    (folder / "candidate.json").write_text(
        json.dumps({"run": chosen.run, "candidate": chosen.entry}, indent=2)
    )
    return folder
