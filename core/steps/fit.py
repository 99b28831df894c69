"""Fit one candidate, and leave its adapter folder and its curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..config.decoders import name_and_settings
from ..data.store import load_schema, load_split
from ..data.unanswered import inputs_of, load_inputs, save_inputs
from ..discovery import Registry, discover
from ..errors import DataError
from ..evaluation.metrics import metrics_of
from ..method import Data, Method
from ..model.adapter import Description, build_method, copy_adapter
from ..model.gradient import GradientMethod
from ..training import together
from ..training.checkpoint import Keeping
from ..training.context import FitContext
from ..training.launch import launch
from ..training.lead import launch_led
from ..training.lent import Lent
from ..training.replay import ReplayText, load_rows
from ..training.torchrun import led
from .candidate import open_base, say
from .execute import SPEC
from .fitting import Fitting
from .replay import ROWS
from .tuning import tune


def run(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    registry, candidate = discover(), spec["candidate"]
    method = build_method(candidate["method"], candidate["settings"], registry, trusted=True)
    description = _description(spec, method, registry)
    if candidate.get("fitted_as"):
        return _take_over(spec, folder, description)
    if _processes(spec) > 1 and together.processes() == 1:
        if trains_together(method, candidate):
            return _fit_together(spec, folder)
        say(f"{candidate['id']} is fitted by one process: only what the training loop trains is shared out")
    data = _data(spec, registry)
    _require_rows(method, data)
    fitting = Fitting(
        candidate=candidate,
        description=description,
        data=data,
        load=partial(open_base, spec),
        lent=_lent(spec, registry),
        replay=_replay(spec),
        keeping=_keeping(spec),
        shard=spec["config"]["shard"],
    )
    context, said = tune(fitting, folder) if candidate["tune"] else _fit(fitting, folder)
    _keep_inputs(spec, context, folder)
    return {**said, "notes": context.notes}


def _fit(fitting: Fitting, folder: Path) -> tuple[FitContext, dict[str, Any]]:
    """Of several processes the first alone leaves an artifact."""
    shard = fitting.shard and together.processes() > 1
    context = FitContext(folder, fitting.replay, fitting.lent, fitting.keeping, shard)
    fitted = fitting.fit({}, context)
    return context, {} if together.rank() else fitted.save(folder / "artifact")


def _processes(spec: Mapping[str, Any]) -> int:
    """So many train a candidate together: torchrun's, else those that are asked for."""
    at, asked = led(), int(spec["config"]["devices"])
    return at.of if at else asked


def _fit_together(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    at, work = led(), partial(run, spec)
    if at:
        return launch_led(at, work, folder, folder / SPEC)
    return launch(_processes(spec), work, folder, Path(spec["scratch"]))


def trains_together(method: Method, candidate: Mapping[str, Any]) -> bool:
    """Whether several processes can fit the candidate: nothing of it is done outside of the training loop."""
    return isinstance(method, GradientMethod) and not candidate["tune"]


def _take_over(spec: Mapping[str, Any], folder: Path, description: Description) -> dict[str, Any]:
    """The fit of a candidate that writes in another way, at what it has cost there."""
    fitted_as = spec["candidate"]["fitted_as"]
    fitted = Path(spec["needs"][f"fit:{fitted_as}"])
    result, outcome = (json.loads((fitted / name).read_text()) for name in ("result.json", "outcome.json"))
    save_inputs(folder, load_inputs(fitted))
    say(f"fitted as {fitted_as}, from which it differs in how it writes alone")
    return {
        **result,
        "artifact_bytes": copy_adapter(fitted / "artifact", folder / "artifact", description),
        "fit_seconds": outcome["seconds"],
        "peak_memory_bytes": outcome["peak_memory_bytes"],
    }


def _lent(spec: Mapping[str, Any], registry: Registry) -> Lent:
    artifacts = {name: folder / "artifact" for name, folder in _needed(spec).items()}
    return Lent(registry, Path(spec["needs"]["render"]), spec["config"]["data"], artifacts)


def _needed(spec: Mapping[str, Any]) -> dict[str, Path]:
    """The folders of the fits of other candidates, by their ids."""
    fits = {node.removeprefix("fit:"): at for node, at in spec["needs"].items() if node.startswith("fit:")}
    return {name: Path(at) for name, at in fits.items() if name in spec["candidate"]["needs"]}


def _keep_inputs(spec: Mapping[str, Any], context: FitContext, folder: Path) -> None:
    """What this fit and those that it builds on have read beside the run's rows: nothing of it is a test."""
    keys = [inputs_of(context.read_inputs), *map(load_inputs, _needed(spec).values())]
    save_inputs(folder, np.concatenate(keys))


def _require_rows(method: Method, data: Data) -> None:
    fault = method.data_fault(data)
    if fault:
        raise DataError(f"{method.name}: {fault}")


def _description(spec: Mapping[str, Any], method: Method, registry: Registry) -> Description:
    """Of what is saved: by the method that the candidate's own hands on to, where it does."""
    base, name, settings = spec["base"], method.name, spec["candidate"]["settings"]
    if method.hands_on_to:
        name, settings = name_and_settings(settings[method.hands_on_to])
    plugin = registry.plugin_of("method", name)
    return Description(
        method=name,
        settings=settings,
        plugin=plugin.distribution,
        plugin_version=plugin.version,
        base=base["name"],
        base_fingerprint=base["fingerprint"],
        schema=json.loads((Path(spec["needs"]["render"]) / "schema.json").read_text()),
        access=base.get("access"),
    )


def _replay(spec: Mapping[str, Any]) -> ReplayText | None:
    if "replay" not in spec["needs"]:
        return None
    return ReplayText(load_rows(Path(spec["needs"]["replay"]) / ROWS), spec["config"]["replay"]["share"])


def _keeping(spec: Mapping[str, Any]) -> Keeping:
    asked = spec["config"]["checkpoint"]
    return Keeping(Path(spec["scratch"]), spec["fingerprint"], asked["every"], asked["keep"])


def _data(spec: Mapping[str, Any], registry: Registry) -> Data:
    rendered = Path(spec["needs"]["render"])
    schema = load_schema(rendered, registry.task)
    chooses = next(iter(metrics_of(spec["config"], registry).values()))
    return Data(
        schema.task,
        schema.instruction,
        schema.labels,
        train=load_split(rendered / "train"),
        validation=load_split(rendered / "validation"),
        metric=chooses if spec["candidate"]["searches"] else None,
    )
