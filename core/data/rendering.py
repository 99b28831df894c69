"""From read rows to rows with their tokens: what cannot be rendered, or is too long, is quarantined."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

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
from .store import ENCODED_FEATURES, SCHEMA_FILE, Line, SplitWriter, batches, encoded_batch, stored_lines
from .wording import Reading, Wording


@dataclass(frozen=True)
class Rendering:
    """How rows are rendered, where they came from, and the share of them that may be left out."""

    wording: Wording | Reading
    policy: LengthPolicy
    places: Mapping[SplitName, str]
    max_bad: float


def render(rendering: Rendering, read: Path, folder: Path) -> Accounts:
    """Write the splits of the folder `read` again, with tokens, and the quarantine and account of both.

    Raises DataError for too many rows that cannot be rendered, and for a split that none is left of.
    """
    shutil.copyfile(read / SCHEMA_FILE, folder / SCHEMA_FILE)
    shutil.copyfile(read / QUARANTINE_FILE, folder / QUARANTINE_FILE)
    accounts = load_accounts(read)
    with Quarantine(folder / QUARANTINE_FILE) as quarantine:
        for split, before in accounts.items():
            truncated = _render_split(rendering, split, read / split, folder / split, quarantine)
            accounts[split] = before.rendered(quarantine.counts[split], truncated)
            quarantine.require_few(split, rendering.places[split], before.kept, rendering.max_bad)
            require_rows(split, rendering.places[split], accounts[split])
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


def _render_split(
    rendering: Rendering, split: SplitName, read: Path, folder: Path, quarantine: Quarantine
) -> int:
    """Returns how many rows were cut."""
    truncated = 0
    with SplitWriter(folder, ENCODED_FEATURES) as writer:
        for lines in batches(stored_lines(read)):
            kept: list[tuple[Line, Encoded]] = []
            for line, outcome in zip(lines, _encode(rendering.wording, lines), strict=True):
                try:
                    fitted = rendering.policy.fit(outcome)
                except RowFault as fault:
                    quarantine.add(split, rendering.places[split], line[0], str(fault), _shown(line[1]))
                    continue
                truncated += fitted is not outcome
                kept.append((line, fitted))
            writer.write(encoded_batch(kept))
    return truncated


def _encode(wording: Wording | Reading, lines: Sequence[Line]) -> Iterator[Encoded | RowFault]:
    """Conversations and single questions are rendered apart, in the order in which they stand."""
    examples = [example for _, example in lines]
    for _, group in groupby(examples, key=lambda example: bool(example.messages)):
        yield from wording.encode(list(group))


def _shown(example: Example) -> str:
    return json.dumps({"input": example.input, "expected": example.expected}, ensure_ascii=False)
