"""From read rows to rows with their tokens: what cannot be rendered, or is too long, is quarantined."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ..errors import RowFault
from ..types import Encoded, Example, SplitName
from .account import (
    ACCOUNT_FILE,
    QUARANTINE_FILE,
    Accounts,
    Quarantine,
    load_accounts,
    require_rows,
    save_accounts,
)
from .lengths import LengthPolicy
from .parallel import in_order, processes_for
from .store import (
    ENCODED_FEATURES,
    SCHEMA_FILE,
    Line,
    SplitWriter,
    batches,
    encoded_batch,
    stored_lines,
)
from .wording import Reading, Wording


@dataclass(frozen=True)
class Rendering:
    """How rows are rendered, where they came from, and the share of them that may be left out."""

    wording: Wording | Reading
    policy: LengthPolicy
    places: Mapping[SplitName, str]
    max_bad: float

    def batch(self, lines: Sequence[Line]) -> Rendered:
        """Renders some rows; it may be called in another process."""
        kept: list[tuple[Line, Encoded]] = []
        faults: list[Fault] = []
        truncated = 0
        for line, outcome in zip(lines, _encode(self.wording, lines), strict=True):
            try:
                fitted = self.policy.fit(outcome)
            except RowFault as fault:
                faults.append(Fault(line[0], str(fault), _shown(line[1])))
                continue
            truncated += fitted is not outcome
            kept.append((line, fitted))
        return Rendered(encoded_batch(kept), faults, truncated)


class Fault(NamedTuple):
    """A row that was left out: its line, why, and what the quarantine shows of it."""

    line: int
    reason: str
    shown: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """Some rows with their tokens, those left out, and how many were cut."""

    rows: pa.RecordBatch
    faults: Sequence[Fault]
    truncated: int


def render(rendering: Rendering, read: Path, folder: Path) -> Accounts:
    """Write the splits of the folder `read` again, with tokens, and the quarantine and account of both.

    Raises DataError for too many rows that cannot be rendered, and for a split that none is left of.
    """
    shutil.copyfile(read / SCHEMA_FILE, folder / SCHEMA_FILE)
    shutil.copyfile(read / QUARANTINE_FILE, folder / QUARANTINE_FILE)
    accounts = load_accounts(read)
    with Quarantine(folder / QUARANTINE_FILE) as quarantine:
        for split, before in accounts.items():
            lines = batches(stored_lines(read / split))
            rendered = in_order(rendering.batch, lines, processes_for(before.kept))
            place = rendering.places[split]
            truncated = _write(rendered, folder / split, partial(quarantine.add, split, place))
            accounts[split] = before.rendered(quarantine.counts[split], truncated)
            quarantine.require_few(split, place, before.kept, rendering.max_bad)
            if before.kept:  # a limit of 0 leaves no training row, as the user wants it
                require_rows(split, place, accounts[split])
    save_accounts(folder, accounts)
    return accounts


def copy_rows(read: Path, folder: Path) -> Accounts:
    """The folder `read` again, for a task that has nothing to render."""
    accounts = load_accounts(read)
    for name in (SCHEMA_FILE, QUARANTINE_FILE, ACCOUNT_FILE):
        shutil.copyfile(read / name, folder / name)
    for split in accounts:
        shutil.copytree(read / split, folder / split)
    return accounts


def _write(rendered: Iterable[Rendered], folder: Path, leave_out: Callable[[int, str, str], None]) -> int:
    """Returns how many rows were cut."""
    truncated = 0
    with SplitWriter(folder, ENCODED_FEATURES) as writer:
        for part in rendered:
            writer.write(part.rows)
            truncated += part.truncated
            for fault in part.faults:
                leave_out(*fault)
    return truncated


def _encode(wording: Wording | Reading, lines: Sequence[Line]) -> Iterator[Encoded | RowFault]:
    """Conversations and single questions are rendered apart, in the order in which they stand."""
    examples = [example for _, example in lines]
    for _, group in groupby(examples, key=lambda example: bool(example.messages)):
        yield from wording.encode(list(group))


def _shown(example: Example) -> str:
    return json.dumps({"input": example.input, "expected": example.expected}, ensure_ascii=False)
