"""Write a fitted candidate in a form that other tools load: a PEFT adapter, or a whole merged model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..bases import is_endpoint, read_model_config
from ..discovery import discover
from ..errors import ModelError
from ..method import Method, Weights
from ..model.adapter import build_method, verify_adapter
from ..model.exported import Form
from ..model.locate import BaseRef
from ..model.merged_export import write_merged
from ..model.peft_export import vllm_faults, vllm_flag, write_peft
from ..model.worded import WEIGHTS
from ..package.base import find_base
from .candidate import say
from .model import find_model

Json = dict[str, Any]


def run(spec: Mapping[str, Any], folder: Path) -> Json:
    """`spec`: model (a version or an artifact folder), format, place (an empty folder of the caller's).

    Leaves the export in `<place>/export`; a version's package stays in `<place>/package`. Raises ModelError
    where the method has no such form, the base is another one, or a file was changed.
    """
    place = Path(spec["place"])
    model = find_model(spec["model"], place)
    description = verify_adapter(model.artifact)
    if is_endpoint(model.base.name):
        raise ModelError(
            f"{model.name} asks {model.base.name}, whose weights are not here, so that there is nothing to "
            f"export: the candidate is a prompt, and that lies in {model.artifact}"
        )
    base = find_base(model.base)
    method = build_method(description.method, description.settings, discover())
    target = place / "export"
    target.mkdir()
    write: dict[Form, Callable[[Path, Method, Path, BaseRef], Json]] = {"peft": _peft, "merged": _merged}
    written = write[spec["format"]](target, method, model.artifact, base)
    return {
        "method": method.name,
        "base": base.to_json(),
        "artifact": str(model.artifact.absolute()),
        "export": str(target),
        "bytes": sum(path.stat().st_size for path in target.iterdir()),
        **written,
    }


def _peft(target: Path, method: Method, artifact: Path, base: BaseRef) -> Json:
    weights = _weights(artifact)
    adapter = method.as_peft(weights, _config(base)) if weights else None
    if adapter is None:
        raise _no_such_form("peft", method, weights, base)
    config = write_peft(target, adapter, base)
    faults = vllm_faults(config)
    say(f"{len(adapter.tensors)} tensors as {config['peft_type']}")
    return {"vllm": {"faults": faults, "flag": "" if faults else vllm_flag(config)}}


def _merged(target: Path, method: Method, artifact: Path, base: BaseRef) -> Json:
    weights = _weights(artifact)
    folds = method.folds(weights, _config(base)) if weights else None
    if folds is None:
        raise _no_such_form("merged", method, weights, base)
    merged = write_merged(target, Path(base.path), folds)
    say(f"{merged.changed} weights folded, in files of at most {merged.largest_shard_bytes:,} bytes")
    return {"changed": merged.changed, "largest_shard_bytes": merged.largest_shard_bytes}


def _weights(artifact: Path) -> Weights:
    """What the candidate learned; nothing where it learned no weights."""
    path = artifact / WEIGHTS
    return load_file(path) if path.is_file() else {}


def _config(base: BaseRef) -> Json:
    return read_model_config(Path(base.path)) if base.has_weights else {}


def _no_such_form(form: Form, method: Method, weights: Weights, base: BaseRef) -> ModelError:
    has = []
    if weights and method.as_peft(weights, _config(base)) is not None:
        has.append("peft")
    if weights and method.folds(weights, _config(base)) is not None:
        has.append("merged")
    what = f"it has {' and '.join(has)}" if has else "it has none, and serves from the registry alone"
    return ModelError(f"{method.name} has no form for --format {form}: {what}")
