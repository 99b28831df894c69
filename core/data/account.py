"""What became of every row: the counts, the quarantine, and the checks that stop a run.

Of each file: read = kept + quarantined + duplicates + leaked + held_out + over_limit. Duplicates go
from the training rows; in the validation and the test rows they are counted but kept, so there they
are part of kept and no term of the sum. `truncated` is part of kept.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from ..errors import DataError
from ..types import SplitName

ACCOUNT_FILE = "account.json"
QUARANTINE_FILE = "quarantine.jsonl"
SHOWN_CHARACTERS = 500
SHOWN_FAULTS = 3


@dataclass(frozen=True)
class Account:
    """The counts of one split."""

    read: int = 0
    kept: int = 0
    quarantined: int = 0
    duplicates: int = 0
    leaked: int = 0
    held_out: int = 0
    over_limit: int = 0
    truncated: int = 0

    def balanced(self, duplicates_kept: bool) -> bool:
        """Whether every row that was read is in exactly one place."""
        gone = self.quarantined + self.leaked + self.held_out + self.over_limit
        return self.read == self.kept + gone + (0 if duplicates_kept else self.duplicates)

    def with_unreadable(self, rows: int) -> Account:
        """With rows of the file that are not counted yet, for they were quarantined as they were read."""
        return replace(self, read=self.read + rows, quarantined=self.quarantined + rows)

    def rendered(self, quarantined: int, truncated: int) -> Account:
        """After some of the kept rows were quarantined, and some of the others cut."""
        return replace(
            self,
            kept=self.kept - quarantined,
            quarantined=self.quarantined + quarantined,
            truncated=truncated,
        )


Accounts = dict[SplitName, Account]


def as_json(accounts: Accounts) -> dict[str, dict[str, int]]:
    """The `data` object of result.json."""
    return {split: asdict(account) for split, account in accounts.items()}


def save_accounts(folder: Path, accounts: Accounts) -> None:
    lost = [split for split, account in accounts.items() if not account.balanced(split != "train")]
    assert not lost, f"every row of {lost} is in exactly one place"
    content = json.dumps(as_json(accounts), indent=2)
    (folder / ACCOUNT_FILE).write_text(content + "\n", encoding="utf-8")


def load_accounts(folder: Path) -> Accounts:
    content = json.loads((folder / ACCOUNT_FILE).read_text(encoding="utf-8"))
    return {split: Account(**counts) for split, counts in content.items()}


class Quarantine:
    """The file of rows that are left out, one JSON object a line, each with its reason."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[SplitName] = Counter()
        self.first: dict[SplitName, list[str]] = defaultdict(list)
        # Half a surrogate pair cannot be written; its JSON escape can.
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")

    def add(self, split: SplitName, place: str, line: int, reason: str, row: str) -> None:
        self.counts[split] += 1
        reason = reason[:SHOWN_CHARACTERS]
        if len(self.first[split]) < SHOWN_FAULTS:
            self.first[split].append(f"line {line}: {reason}")
        entry = {
            "split": split,
            "file": place,
            "line": line,
            "reason": reason,
            "row": row[:SHOWN_CHARACTERS],
        }
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def require_few(self, split: SplitName, place: str, rows: int, max_bad: float) -> None:
        """Raises DataError where more than the share `max_bad` of `rows` was left out."""
        bad = self.counts[split]
        if bad <= max_bad * rows:
            return
        faults = "\n".join(f"  {fault}" for fault in self.first[split])
        raise DataError(
            f"{place}: {bad} of {rows} rows ({bad / rows:.1%}) of {split} cannot be used; "
            f"data.max_bad allows {max_bad:.1%}. The first:\n{faults}\n"
            f"Repair these rows, or raise data.max_bad to go on without them"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def require_rows(split: SplitName, place: str, account: Account) -> None:
    """Raises DataError, with what emptied it, where a split has no row left."""
    if account.kept:
        return
    if account.read == 0:
        raise DataError(f"{place}: no rows for {split}; expected one row a line")
    causes = {
        "quarantined": "unusable",
        "duplicates": "repeated",
        "leaked": "with the input of a test or validation row",
        "held_out": "held out for validation",
        "over_limit": f"over data.limit.{split}",
    }
    gone = [f"{getattr(account, name)} {words}" for name, words in causes.items() if getattr(account, name)]
    raise DataError(f"{place}: no row is left for {split} of {account.read} read: {', '.join(gone)}")
