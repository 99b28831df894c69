"""Makes the package of a chosen candidate, loads it, and records what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..data.identity import as_keys, keys_of
from ..data.store import stored_lines
from ..data.unanswered import load_inputs
from ..files import link
from .layout import (
    ARTIFACT,
    CANDIDATE,
    EVIDENCE,
    LINEAGE,
    PREDICTIONS,
    RECORDED,
    SERVED,
    TEST,
    read_lines,
    write_json,
    write_lines,
    write_manifest,
    write_test,
    write_train_keys,
)
from .lineage import gather
from .replay import ask, require_same, tolerance
from .served import Served, open_package

ROWS = 8
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a package is made of.

    `run` has name, fingerprint, run_dir, data_sha256 and commit; `entry` is the candidate's of result.json;
    `base` a BaseRef as JSON; `rendered` the folder of the step `render`.
    """

    run: Mapping[str, Any]
    entry: Mapping[str, Any]
    base: Mapping[str, Any]
    config: Mapping[str, Any]
    rendered: Path


def pack(contents: Contents, folder: Path) -> Served:
    """Fill the empty `folder`; returns the candidate as it is loaded from there.

    Raises ModelError where it does not answer as it did when it was evaluated.
    """
    link(Path(contents.entry["artifact"]), folder / ARTIFACT)
    run = {key: contents.run[key] for key in ("name", "fingerprint", "run_dir")}
    write_json(folder, CANDIDATE, {"run": run, "candidate": contents.entry})
    write_json(folder, LINEAGE, gather(contents))
    _pack_evidence(contents, folder)
    write_json(folder, SERVED, {"base": contents.base})
    served = open_package(folder)
    write_json(folder, SERVED, {"base": contents.base, **asdict(served.serving)})
    _record_answers(folder, served)
    write_manifest(folder)
    return served


def _pack_evidence(contents: Contents, folder: Path) -> None:
    (folder / EVIDENCE).mkdir()
    write_test(folder, (example for _, example in stored_lines(contents.rendered / "test")))
    link(Path(contents.entry["predictions"]), folder / PREDICTIONS)
    beside = load_inputs(Path(contents.entry["artifact"]).parent)
    write_train_keys(folder, np.concatenate([_train_keys(contents.rendered), beside]))


def _train_keys(rendered: Path) -> npt.NDArray[np.uint64]:
    """By the input of each row that it was fitted, calibrated or chosen by: shape [rows]."""
    lines = (line for split in ("train", "validation") for line in stored_lines(rendered / split))
    records = bytearray(chain.from_iterable(keys_of(example) for _, example in lines))
    return as_keys(records)["input"]


def _record_answers(folder: Path, served: Served) -> None:
    """Some test rows with the package's answers to them, which must be those of the evaluation."""
    rows = spread(list(zip(read_lines(folder / TEST), read_lines(folder / PREDICTIONS), strict=True)), ROWS)
    examples = [example for example, _ in rows]
    said = ask(served, examples)
    if answers_again(served):
        evaluated = tolerance(served.serving.dtype, served, among_others=True)
        require_same([prediction for _, prediction in rows], said, evaluated)
    answers = [
        {**example, **_answer(asdict(prediction))} for example, prediction in zip(examples, said, strict=True)
    ]
    write_lines(folder / RECORDED, answers)


def answers_again(served: Served) -> bool:
    """Whether a row is answered alike whatever it is asked together with: not where answers are drawn."""
    decoding = served.serving.decoding
    return decoding is None or decoding["decoder"] == "greedy"


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, evenly, the first among them."""
    chosen = {round(place) for place in np.linspace(0, len(items) - 1, min(count, len(items)))}
    return [items[place] for place in sorted(chosen)]


def _answer(prediction: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in prediction.items() if key != "id"}
