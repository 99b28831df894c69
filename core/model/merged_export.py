"""A candidate folded into the weights of its base, as a plain folder of transformers, without loading either.

Each file of weights is copied as it is, and then each changed weight is written over its own bytes: shapes
and dtypes stay, so its header holds. In memory is one weight at a time, which no file is smaller than.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..bases import read_model_config
from ..errors import ModelError
from ..method import Fold
from .architecture import tied_weights
from .locate import CONTENT_SUFFIXES, LICENSE_FILES, WEIGHT_SUFFIXES

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
ADAPTER, GENERATION, TEMPLATE = "adapter_config.json", "generation_config.json", "chat_template.jinja"
DTYPES = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Merged:
    """What was written: weights changed, and bytes of the largest file of weights."""

    changed: int
    largest_shard_bytes: int


def write_merged(folder: Path, base: Path, folds: Mapping[str, Fold]) -> Merged:
    """Write the base in the folder `base` into the empty `folder`, its weights folded.

    Raises ModelError where a weight cannot be found in the base's files, or is quantised.
    """
    shards = _shards(base)
    folds = {**folds, **_folds_of_copies(base, shards, folds)}
    plan = {shard: _folds_of(base / shard, folds) for shard in shards}
    missing = folds.keys() - {name for found in plan.values() for name, _ in found.values()}
    if missing:
        raise ModelError(
            f"{base}: {len(missing)} of {len(folds)} weights to be folded are not in its files, at first "
            f"{min(missing)}: expected the names that transformers' save_pretrained writes; save it so anew"
        )
    _copy_what_is_small(base, folder)
    for shard in shards:
        shutil.copyfile(base / shard, folder / shard)
        for key, (_, fold) in plan[shard].items():
            _fold_in_place(base / shard, folder / shard, key, fold)
    return Merged(len(folds), max((base / shard).stat().st_size for shard in shards))


def _shards(base: Path) -> list[str]:
    """Names of the files of weights that transformers reads."""
    if (base / ADAPTER).exists():
        raise ModelError(f"{base}: has an adapter of its own ({ADAPTER}): merge that into it first")
    if (base / INDEX).is_file():
        return sorted(set(json.loads((base / INDEX).read_text())["weight_map"].values()))
    if (base / SINGLE).is_file():
        return [SINGLE]
    raise ModelError(f"{base}: expected {SINGLE} or {INDEX}: save it anew with transformers' save_pretrained")


def _folds_of_copies(base: Path, shards: Sequence[str], folds: Mapping[str, Fold]) -> dict[str, Fold]:
    """Of tied weights that the files hold twice: transformers would not tie copies that differ."""
    stored = {name for shard in shards for name in _header(base / shard)}
    tied = tied_weights(read_model_config(base))
    return {copy: folds[name] for copy, name in tied.items() if name in folds and copy in stored}


def _folds_of(shard: Path, folds: Mapping[str, Fold]) -> dict[str, tuple[str, Fold]]:
    """For each weight of the file that is changed, by its name there, the model's name and the fold.

    A file of the trunk alone lacks the first part of the model's names.
    """
    by_name = {name.partition(".")[2]: name for name in folds} | {name: name for name in folds}
    header = _header(shard)
    found = {key: by_name[key] for key in header if key in by_name}
    for key in found:
        dtype = header[key]["dtype"]
        if dtype not in DTYPES:
            raise ModelError(f"{shard}: {key} is quantised ({dtype}): nothing can be folded into it exactly")
    return {key: (name, folds[name]) for key, name in found.items()}


def _copy_what_is_small(base: Path, folder: Path) -> None:
    """Configuration, tokenizer and chat template; made where transformers would fill them in by itself."""
    for path in filter(_is_small, sorted(base.iterdir())):
        shutil.copyfile(path, folder / path.name)
    if not (folder / GENERATION).exists():
        _write_generation_config(base, folder)
    if not (folder / TEMPLATE).exists() and not _has_template(base):
        _write_template(base, folder)


def _is_small(path: Path) -> bool:
    is_content = path.suffix in CONTENT_SUFFIXES or path.name in LICENSE_FILES
    return is_content and path.suffix not in WEIGHT_SUFFIXES and path.is_file()


def _write_generation_config(base: Path, folder: Path) -> None:
    from transformers import AutoConfig, GenerationConfig

    GenerationConfig.from_model_config(AutoConfig.from_pretrained(base)).save_pretrained(folder)


def _has_template(base: Path) -> bool:
    config = base / "tokenizer_config.json"
    return (base / "chat_template.json").exists() or (
        config.is_file() and bool(json.loads(config.read_text()).get("chat_template"))
    )


def _write_template(base: Path, folder: Path) -> None:
    """The template that the candidate was fitted with, since the base has none."""
    from transformers import AutoTokenizer

    from ..tokenizer import Renderer

    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    (folder / TEMPLATE).write_text(Renderer(tokenizer).template)


def _fold_in_place(source: Path, target: Path, key: str, fold: Fold) -> None:
    with safe_open(source, framework="pt") as file:
        weight = file.get_tensor(key)  # lies in the mapped file, not in memory of our own
        folded = fold(weight).contiguous()
    assert (folded.shape, folded.dtype) == (weight.shape, weight.dtype), "a fold changes values alone"
    start = _header_bytes(target) + _header(target)[key]["data_offsets"][0]
    with target.open("r+b") as file:
        file.seek(start)
        file.write(folded.reshape(-1).view(torch.uint8).numpy().data)


def _header_bytes(shard: Path) -> int:
    with shard.open("rb") as file:
        length: int = struct.unpack("<Q", file.read(8))[0]
    return 8 + length


def _header(shard: Path) -> dict[str, Any]:
    """Of each tensor in the file its dtype, shape and where it lies behind the header."""
    with shard.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(_header_bytes(shard))[8:])
    header.pop("__metadata__", None)
    return header
