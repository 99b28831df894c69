"""From the places in a config to the rows that a run uses: read, checked, split, counted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from ..errors import DataError
from ..method import DataSchema, Task
from ..source import Source
from ..types import SplitName
from .account import QUARANTINE_FILE, Accounts, Quarantine, require_rows, save_accounts
from .columns import Columns
from .identity import Keys
from .reading import ReadRows, RowPlace, Say, read_place, write_kept
from .splitting import Limits, Mask, Side, split_other, split_train
from .store import record_batches, save_schema


@dataclass(frozen=True)
class DataPlan:
    """What the config says of the data. `share` is the part of train held out where no place is given."""

    task: Task
    instruction: str
    places: Mapping[SplitName, RowPlace]
    share: float
    limits: Limits
    max_bad: float

    @classmethod
    def of(cls, data: Mapping[str, Any], task: Task, source: Callable[[str], type[Source]]) -> Self:
        """From the config's `data`; `source` gives what reads a place (`Registry.source_for`).

        Raises ConfigError for fields that the task does not have.
        """
        columns = Columns.of(task, data)
        places = {
            split: RowPlace(split, where, source(where)(), columns)
            for split, where in own_places(data).items()
        }
        share = 0.0 if "validation" in places else float(data["validation"])
        limits = Limits(**(data.get("limit") or {}))
        return cls(task, data.get("instruction") or "", places, share, limits, data["max_bad"])


def own_places(data: Mapping[str, Any]) -> dict[SplitName, str]:
    """The place of each split that the config's `data` gives one."""
    names: tuple[SplitName, ...] = ("train", "validation", "test")
    return {split: data[split] for split in names if isinstance(data[split], str)}


def prepare(plan: DataPlan, folder: Path, say: Say) -> Accounts:
    """Write the splits, quarantine, account and schema into `folder`; `say` is told what is a guess.

    Raises DataError for a place that cannot be read, for too many bad rows, and for an empty split.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="read-") as interim:
        rows = _read_all(plan, Path(interim), folder / QUARANTINE_FILE, say)
        sides = _split(plan, rows)
        accounts = _accounts(rows, sides)
        _require_rows(plan, rows, accounts)
        for split, side in sides.items():
            write_kept(rows.get(split, rows["train"]), side.kept, folder / split)
        labels = plan.task.labels(_expected(rows["train"], sides["train"].usable))
    save_schema(folder, DataSchema(plan.task, plan.instruction, labels))
    save_accounts(folder, accounts)
    return accounts


def _read_all(plan: DataPlan, interim: Path, quarantine_path: Path, say: Say) -> dict[SplitName, ReadRows]:
    rows: dict[SplitName, ReadRows] = {}
    with Quarantine(quarantine_path) as quarantine:
        for split, place in plan.places.items():
            rows[split] = read_place(place, interim / split, quarantine, say)
            read = len(rows[split].keys) + rows[split].unreadable
            quarantine.require_few(split, place.where, read, plan.max_bad)
    return rows


def _split(plan: DataPlan, rows: Mapping[SplitName, ReadRows]) -> dict[SplitName, Side]:
    """Each split's rows; a row in two splits stays in test before validation, in validation before train."""
    keys: dict[SplitName, Keys] = {split: read.keys for split, read in rows.items()}
    closed = len(rows["train"].keys) > 0 and bool(plan.task.labels(_expected(rows["train"])))
    others: Sequence[Keys] = [keys[split] for split in ("test", "validation") if split in keys]
    train, validation = split_train(keys["train"], others, plan.share, plan.limits, closed)
    if "validation" in keys:
        validation = split_other(keys["validation"], [keys["test"]], plan.limits.validation, closed)
    test = split_other(keys["test"], [], plan.limits.test, closed)
    return {"train": train, "validation": validation, "test": test}


def _accounts(rows: Mapping[SplitName, ReadRows], sides: Mapping[SplitName, Side]) -> Accounts:
    unreadable = {split: read.unreadable for split, read in rows.items()}
    return {split: side.account.with_unreadable(unreadable.get(split, 0)) for split, side in sides.items()}


def _require_rows(plan: DataPlan, rows: Mapping[SplitName, ReadRows], accounts: Accounts) -> None:
    for split, read in rows.items():
        if split != "train" or plan.limits.train != 0:
            require_rows(split, read.place.where, accounts[split])
    if not accounts["validation"].kept:
        where, left = rows["train"].place.where, accounts["train"].kept
        raise DataError(
            f"{where}: the share of data.validation holds out none of {left} rows; expected at least one. "
            "Set a larger share, or name a place of validation rows"
        )


def _expected(rows: ReadRows, usable: Mask | None = None) -> Iterator[str]:
    """The expected answers of the rows, or of the `usable` ones: a closed set is that of all training rows,
    however few of them a limit keeps.
    """
    start = 0
    for batch in record_batches(rows.folder):
        answers = batch.column("expected")
        chosen = slice(start, start + batch.num_rows)
        yield from (answers if usable is None else answers.filter(pa.array(usable[chosen]))).to_pylist()
        start = chosen.stop
