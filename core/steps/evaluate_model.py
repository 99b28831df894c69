"""Answer a config's test rows with a fitted candidate: a registered version, or an artifact folder.

Nothing is fitted. The rows are read and rendered as by a run of that config, for the candidate's own base.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import Config, load_config
from ..data.account import load_accounts, save_accounts
from ..data.store import load_split
from ..discovery import discover
from ..errors import InputError
from ..evaluation.metrics import metrics_of
from ..evaluation.score import evaluate, records, write_predictions
from ..method import Adapted
from ..metric import Metric
from ..model.locate import BaseRef
from ..package.served import load_candidate
from ..report.folder import RESULT, replace
from ..tracking.evaluations import record_evaluation
from ..tracking.faults import MlflowError
from ..types import Example, Record
from . import read, render
from .candidate import say
from .model import Model, find_model
from .rescore import unseen

PREDICTIONS = "predictions.jsonl"
Json = dict[str, Any]


def run(spec: Mapping[str, Any], folder: Path) -> Json:
    """`spec`: model (a version or an artifact folder), config (path), runs (folder of all runs).

    Leaves `<runs>/evaluations/<model>-<fingerprint[:12]>/` with predictions.jsonl and result.json, which is
    returned; that of a version is recorded in MLflow too. Raises InputError where there is no such model or
    config, or they are of different tasks.
    """
    registry = discover()
    config = load_config(Path(spec["config"]), (), registry).config
    model = find_model(spec["model"], folder)
    _require_task(model, config, spec["config"])
    served = load_candidate(model.artifact, model.base)
    examples, account = _read_test(config, served.base.ref, folder)
    answered, seconds = _answer(served.adapted, examples)
    metrics = list(metrics_of(config.model_dump(mode="json"), registry).values())
    fingerprint = _fingerprint(model, examples, metrics)
    place = Path(spec["runs"], "evaluations", f"{model.short_name}-{fingerprint[:12]}")
    result = {
        "model": model.name,
        "method": model.method,
        "config": spec["config"],
        "task": config.task,
        "fingerprint": fingerprint,
        "folder": str(place),
        "data": {"test": account},
        "trained_on": _count_trained_on(model, examples),
        "metrics": {name: asdict(figure) for name, figure in evaluate(answered, metrics).items()},
        "evaluate_seconds": seconds,
        "predictions": str(place / PREDICTIONS),
    }
    write_predictions(folder / PREDICTIONS, answered, metrics[0])
    _leave(place, result, folder / PREDICTIONS)
    _record(model, result)
    return result


def _require_task(model: Model, config: Config, path: str) -> None:
    task = model.description.schema["task"]
    if task != config.task:
        raise InputError(
            f"{model.name} does the task {task!r}, and {path} is of the task {config.task!r}: expected a "
            f"config of the same task; `stepladder run {path}` makes a model of that one"
        )


def _read_test(config: Config, base: BaseRef, folder: Path) -> tuple[list[Example], Json]:
    """The test rows that a run would answer, and their account. The other rows are not rendered."""
    spec: Json = {"config": config.model_dump(mode="json"), "base": base.to_json()}
    rows, rendered = folder / "read", folder / "render"
    rows.mkdir()
    rendered.mkdir()
    read.run({**spec, "needs": {}}, rows)
    save_accounts(rows, {"test": load_accounts(rows)["test"]})
    account = render.run({**spec, "needs": {"read": str(rows)}}, rendered)["data"]["test"]
    return load_split(rendered / "test").examples(), account


def _answer(adapted: Adapted, examples: Sequence[Example]) -> tuple[list[Record], float]:
    """The records, and the seconds that they took."""
    started = time.perf_counter()
    answered = records(examples, adapted.predict(examples))
    seconds = time.perf_counter() - started
    say(f"test: {len(examples)} rows answered in {seconds:.1f} s")
    return answered, seconds


def _fingerprint(model: Model, examples: Sequence[Example], metrics: Sequence[Metric]) -> str:
    """The same for the same model, rows and figures; the id of a row is a hash of what is in it."""
    over = [model.fingerprint, [example.id for example in examples], [metric.name for metric in metrics]]
    return hashlib.sha256(json.dumps(over).encode()).hexdigest()


def _count_trained_on(model: Model, examples: Sequence[Example]) -> int | None:
    """How many of the rows have the input of a row that the model was trained on; None if nobody knows."""
    if model.train is None:
        return None
    return len(examples) - len(unseen(examples, model.train))


def _leave(place: Path, result: Mapping[str, Any], predictions: Path) -> None:
    """Put the finished folder in the place of an earlier one of the same evaluation."""
    new = place.with_name(f".{place.name}.{os.getpid()}.new")
    new.mkdir(parents=True)
    shutil.move(predictions, new / PREDICTIONS)
    (new / RESULT).write_text(json.dumps(result, indent=2) + "\n")
    replace(new, place)


def _record(model: Model, result: Mapping[str, Any]) -> None:
    if model.version is None:
        return
    try:
        run_id = record_evaluation(model.version, result)
    except MlflowError as error:
        kept = f"Nothing is lost: the figures are in {result['folder']}; evaluate again to record them"
        raise type(error)(f"{error}\n{kept}") from error
    say(f"recorded in MLflow's experiment {model.version.name} as run {run_id}")
