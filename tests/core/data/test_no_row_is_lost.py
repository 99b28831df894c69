"""Whatever stands in the files, every line that is not blank is in exactly one place."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import event, given, settings
from hypothesis import strategies as st
from stepladder.core.data.account import Account, as_json
from stepladder.core.data.prepare import DataPlan, prepare
from stepladder.core.data.store import load_split, record_batches
from stepladder.core.errors import DataError
from stepladder.plugins.sources.jsonl import JsonLines
from stepladder.plugins.tasks.classify import Classify

WORDS = st.sampled_from(["a", "b", "c", "d", "", " ", "\ud800", "e\u2028f", "0"])
VALUES = st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(WORDS, max_size=2))
ROWS = st.fixed_dictionaries({}, optional={"input": VALUES, "label": VALUES, "more": VALUES})
GOOD = st.fixed_dictionaries(
    {"input": st.integers(0, 300).map(str), "label": st.sampled_from(["a", "b", "c", 1])}
)
LINES = st.one_of(
    GOOD.map(json.dumps).map(str.encode),
    GOOD.map(json.dumps).map(str.encode),
    ROWS.map(json.dumps).map(str.encode),
    st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
    st.sampled_from([b"", b"  ", b"[", b"null", b'{"input": "a", "label": "b"', b"\xef\xbb\xbf{}", b"\r"]),
)
# The first line is good, so that the file is not taken for one of another encoding or other columns.
FIRST = GOOD.map(json.dumps).map(str.encode)
FILES = st.tuples(FIRST, st.lists(LINES, max_size=30)).map(lambda parts: [parts[0], *parts[1]])
TRAIN = st.tuples(FIRST, st.lists(LINES, min_size=15, max_size=60)).map(lambda parts: [parts[0], *parts[1]])
LIMITS = st.fixed_dictionaries({}, optional={"train": st.integers(2, 20), "test": st.integers(1, 20)})
VALIDATION = st.one_of(st.sampled_from([0.2, 0.5, 0.8]), FILES)


def prepare_lines(folder: Path, train: list[bytes], test: list[bytes], validation, limit):
    files = {"train": train, "test": test} | (
        {"validation": validation} if isinstance(validation, list) else {}
    )
    for split, lines in files.items():
        (folder / f"{split}.jsonl").write_bytes(b"\n".join(lines))
    paths = {split: str(folder / f"{split}.jsonl") for split in files}
    data = {"validation": validation, "max_bad": 1.0, "limit": limit} | paths
    (folder / "out").mkdir()
    plan = DataPlan.of(data, Classify(), lambda _: JsonLines)
    return prepare(plan, folder / "out", print), files


@settings(max_examples=80, deadline=None)
@given(TRAIN, FILES, VALIDATION, LIMITS)
def test_no_row_is_lost(train, test, validation, limit):
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            accounts, files = prepare_lines(folder, train, test, validation, limit)
        except DataError as error:
            event("refused")
            message = str(error)
            assert (
                "no row is left" in message or "at least 2 labels" in message or "holds out none" in message
            )
            return
        quarantined = [
            json.loads(line) for line in (folder / "out/quarantine.jsonl").read_text().splitlines()
        ]
        bad = Counter(line["split"] for line in quarantined)
        for split, account in accounts.items():
            assert min(as_json({split: account})[split].values()) >= 0
            assert account.balanced(duplicates_kept=split != "train")
            assert account.kept == len(load_split(folder / "out" / split))
            assert account.quarantined == bad[split]
            if split in files:
                assert account.read == sum(1 for line in files[split] if line.strip())
        check_places(folder / "out", accounts, quarantined, limit)
        check_labels(folder / "out", limit)


def check_places(out: Path, accounts: dict[str, Account], quarantined: list[dict], limit: dict):
    kept = {
        split: [row for batch in record_batches(out / split) for row in batch.to_pylist()]
        for split in accounts
    }
    for split, rows in kept.items():
        lines = [row["line"] for row in rows]
        assert lines == sorted(set(lines))
        assert not {*lines} & {line["line"] for line in quarantined if line["split"] == split}
        assert len({row["id"] for row in rows}) == len(rows)
        assert len(rows) <= limit.get(split, len(rows))
    inputs = {split: {row["input"] for row in rows} for split, rows in kept.items()}
    assert not inputs["train"] & (inputs["validation"] | inputs["test"])
    assert not inputs["validation"] & inputs["test"]


def check_labels(out: Path, limit: dict):
    """The closed set is that of the training rows, those over the limit among them."""
    labels = json.loads((out / "schema.json").read_text())["labels"]
    kept = sorted({row.expected for row in load_split(out / "train").examples()})
    assert labels == sorted(set(labels))
    assert set(kept) <= set(labels) if "train" in limit else kept == labels
