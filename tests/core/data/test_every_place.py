"""The step that reads, from each kind of place: the same rows, the same account, faults named by place."""

import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from stepladder.core.config import load_config
from stepladder.core.data.store import load_split
from stepladder.core.errors import DataError
from stepladder.core.steps import read
from stepladder.core.steps.plan import gather

ROWS = [{"input": f"Where is train {n}, please?", "label": "ab"[n % 2]} for n in range(40)]
BAD = {"input": "", "label": "a"}


def as_jsonl(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows) -> bytes:
    return "".join(['"input";"label"\n', *(f'"{row["input"]}";"{row["label"]}"\n' for row in rows)]).encode()


def jsonl(folder: Path, rows) -> str:
    (folder / "rows.jsonl").write_bytes(as_jsonl(rows))
    return str(folder / "rows.jsonl")


def csv(folder: Path, rows) -> str:
    (folder / "rows.csv").write_bytes(as_csv(rows))
    return f"file://{folder}/rows.csv"


def parquet(folder: Path, rows) -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return "./rows.parquet"


def saved(folder: Path, rows) -> str:
    Dataset.from_list(rows).save_to_disk(folder / "saved")
    return "./saved"


def hub(folder: Path, rows) -> str:
    (folder / "layout").mkdir()
    (folder / "layout" / "train.jsonl").write_bytes(as_jsonl(rows))
    return "hub:./layout"


def memory(folder: Path, rows) -> str:
    with fsspec.open(f"memory://{folder.name}/rows.csv", "wb") as file:
        file.write(as_csv(rows))
    return f"memory://{folder.name}/rows.csv"


@pytest.fixture
def resolve(tmp_path):
    """`resolve(train)`: the config, with that place of train rows."""

    def load(train: str, **data):
        (tmp_path / "test.jsonl").write_bytes(as_jsonl([{"input": "Where is the bus?", "label": "a"}]))
        places = {"train": train, "test": "test.jsonl"}
        values = {
            "name": "a",
            "task": "classify",
            "data": {**places, **data},
            "methods": ["zero_shot"],
        }
        (tmp_path / "run.yaml").write_text(json.dumps(values))
        return load_config(tmp_path / "run.yaml")

    return load


def run(resolved, folder: Path):
    folder.mkdir()
    spec = {"config": resolved.config.model_dump(mode="json"), "base": None, "needs": {}}
    return read.read_rows(spec, folder, print)["data"]


@pytest.mark.parametrize("place", [jsonl, csv, parquet, saved, hub, memory])
def test_every_place_gives_the_same_rows_and_its_faults_are_told_by_its_name(place, resolve, tmp_path):
    resolved = resolve(place(tmp_path, [*ROWS, BAD]))
    account = run(resolved, tmp_path / "out")
    assert (account["train"]["read"], account["train"]["quarantined"]) == (41, 1)
    kept = [
        *load_split(tmp_path / "out" / "train").examples(),
        *load_split(tmp_path / "out" / "validation").examples(),
    ]
    assert {(row.input, row.expected) for row in kept} == {(row["input"], row["label"]) for row in ROWS}
    [fault] = map(json.loads, (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines())
    assert (fault["file"], fault["reason"]) == (resolved.config.data.train, "input is empty")
    assert fault["line"] == (42 if place in (csv, memory) else 41)


@pytest.mark.parametrize("place", [jsonl, csv, parquet, saved, hub, memory])
def test_other_rows_make_another_fingerprint_and_the_place_alone_none(place, resolve, tmp_path, registry):
    def fingerprint(rows) -> str:
        folder = tmp_path / f"folder{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        resolved = resolve(place(folder, rows).replace("./", f"{folder}/"))
        return gather(resolved, registry).files[resolved.config.data.train]

    assert fingerprint(ROWS) != fingerprint(ROWS[:-1])
    if place is not memory:  # an address tells no more of a file than when it was changed
        assert fingerprint(ROWS) == fingerprint(ROWS)


def test_an_address_without_rows_stops_the_run_by_its_name(resolve, tmp_path):
    with fsspec.open("memory://nothing/rows.csv", "wb"):
        pass
    with pytest.raises(DataError, match=r"^memory://nothing/rows\.csv is empty; expected one row a line$"):
        run(resolve("memory://nothing/rows.csv"), tmp_path / "out")
    with pytest.raises(DataError, match=r"^memory://nothing/none\.csv: nothing can be read there"):
        run(resolve("memory://nothing/none.csv"), tmp_path / "other")


def test_a_csv_of_another_separator_than_its_name_says(resolve, tmp_path):
    (tmp_path / "rows.tsv").write_bytes(as_csv(ROWS))
    account = run(resolve("rows.tsv"), tmp_path / "out")
    assert account["train"]["read"] == 40


def test_rows_of_other_separators_than_the_header_are_told_with_it(resolve, tmp_path):
    (tmp_path / "rows.csv").write_text("input,label\n" + "Where?;a\n" * 10)
    message = r"10 of 10 rows .*line 2: 1 column, separated by a comma; the header has 2: input, label"
    with pytest.raises(DataError, match=message.replace(".*", r"[\s\S]*")):
        run(resolve("rows.csv"), tmp_path / "out")
