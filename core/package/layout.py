"""The files of a package, and the readers of what others need of it.

    artifact/                     the candidate's adapter folder, with a manifest of its own
    served.json                   base, template, stop ids, labels, decoding: what serving must find again
    candidate.json                the run, and the candidate's entry of result.json
    lineage.json                  config, data, plugins, libraries, commit, licences
    recorded.jsonl                some test rows with the package's answers, to be replayed
    evidence/test.jsonl           every test row
    evidence/predictions.jsonl    the candidate's answers to them
    evidence/train.safetensors    `input` [rows] uint64 of train and validation: what cannot judge it
    manifest.json                 sha256 of each file; that of artifact/manifest.json stands for the artifact

Nothing in it can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from ..errors import ModelError
from ..types import Example, Message

ARTIFACT, MANIFEST = "artifact", "manifest.json"
SERVED, CANDIDATE, LINEAGE, RECORDED = "served.json", "candidate.json", "lineage.json", "recorded.jsonl"
EVIDENCE = "evidence"
TEST, PREDICTIONS = f"{EVIDENCE}/test.jsonl", f"{EVIDENCE}/predictions.jsonl"
TRAIN = f"{EVIDENCE}/train.safetensors"
Json = dict[str, Any]


def read_json(folder: Path, name: str) -> Json:
    """The JSON object in that file of the package. Raises ModelError where there is none."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no {name} that can be read ({error}): expected a package") from error
    if not isinstance(content, dict):
        raise ModelError(f"{folder}: {name} holds no JSON object: expected a package")
    return content


def write_json(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_entry(folder: Path) -> Json:
    """The candidate's entry of the result.json of its run."""
    entry: Json = read_json(folder, CANDIDATE)["candidate"]
    return entry


def read_lineage(folder: Path) -> Json:
    return read_json(folder, LINEAGE)


def read_lines(path: Path) -> Iterator[Json]:
    """The objects of a file of JSON lines, in order."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def example_of(row: Mapping[str, Any]) -> Example:
    """The example that a line of test.jsonl or recorded.jsonl holds."""
    return Example(
        id=row["id"],
        input=row["input"],
        expected=row["expected"],
        messages=tuple(Message(**message) for message in row["messages"]),
        options=tuple(row["options"]),
        slices=row["slices"],
        task=row.get("task", ""),
    )


def write_test(folder: Path, examples: Iterable[Example]) -> None:
    write_lines(folder / TEST, map(asdict, examples))


def read_test(folder: Path) -> list[Example]:
    """The test rows of the package's run, in order."""
    return [example_of(row) for row in read_lines(folder / TEST)]


def write_train_keys(folder: Path, keys: npt.NDArray[np.uint64]) -> None:
    save_file({"input": np.unique(keys)}, folder / TRAIN)


def read_train_keys(folder: Path) -> npt.NDArray[np.uint64]:
    """The keys (`data.identity`) of the inputs trained on: sorted, each once, shape [inputs]."""
    return load_file(folder / TRAIN)["input"]


def asked_rows(folder: Path) -> list[Json]:
    """Some rows as a user of the package asks them: the columns that predictions through MLflow take."""
    sampled = read_json(folder, SERVED).get("answering") == "sample"
    rows = read_lines(folder / RECORDED)
    return [{"input": row["expected"]} for row in rows] if sampled else [_asked(row) for row in rows]


def _asked(row: Json) -> Json:
    task = {"task": row["task"]} if row.get("task") else {}
    if row["messages"]:
        return {"messages": row["messages"][:-1], **task}
    return {"input": row["input"], **({"options": row["options"]} if row["options"] else {}), **task}


def write_manifest(folder: Path) -> None:
    """Write down the hash of every file as it is now."""
    write_json(folder, MANIFEST, {name: sha256(path) for name, path in _named(folder).items()})


def check_manifest(folder: Path) -> None:
    """Raises ModelError for a file that is changed, lost or added since the package was made."""
    expected, found = read_json(folder, MANIFEST), _named(folder)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise ModelError(f"{folder}: {name} is missing: {_AGAIN}")
        if name not in expected:
            raise ModelError(f"{folder}: {name} was not there when the package was made: {_AGAIN}")
        digest = sha256(found[name])
        if digest != expected[name]:
            raise ModelError(
                f"{folder}: {name} is not what the package was made with: sha256 expected "
                f"{str(expected[name])[:12]}, found {digest[:12]}: {_AGAIN}"
            )


_AGAIN = "fetch it again; a version that stays so is to be deleted, and its run registered anew"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(folder: Path) -> dict[str, Path]:
    """Each file by its name in the manifest; of the artifact, whose manifest names the rest, only that."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    artifact = f"{ARTIFACT}/"
    return {
        name: path
        for name, path in sorted(files.items())
        if name != MANIFEST and (name == f"{artifact}{MANIFEST}" or not name.startswith(artifact))
    }
