"""Parquet and Arrow, as pyarrow and datasets write them: every row is counted, damage is told."""

import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from stepladder.core.errors import DataError, PluginError
from stepladder.plugins.sources.arrow import Arrow
from stepladder.plugins.sources.parquet import Parquet

ROWS = [{"text": f"row {n}", "label": n % 3, "tags": ["a", None]} for n in range(2500)]


@pytest.fixture
def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1700)


def write_file(table, path):
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1700)


WRITERS = {
    "rows.parquet": lambda table, path: pq.write_table(table, path, row_group_size=700),
    "file.arrow": write_file,
    "stream.arrow": write_stream,
    "packed.feather": lambda table, path: pyarrow.feather.write_feather(table, path, compression="zstd"),
    "saved": lambda table, path: Dataset(table).save_to_disk(path, num_shards=2),
}


@pytest.fixture
def where(request, tmp_path, table) -> str:
    path = str(tmp_path / request.param)
    WRITERS[request.param](table, path)
    return path


@pytest.mark.parametrize("where", WRITERS, indirect=True)
def test_every_row_is_read_in_order_with_its_number(where, registry):
    rows = list(registry.source_for(where)().rows(where))
    assert [row.line for row in rows] == list(range(1, 2501))
    assert [row.fields for row in rows] == ROWS
    assert {row.fault for row in rows} == {None}


@pytest.mark.parametrize("where", [name for name in WRITERS if name != "saved"], indirect=True)
def test_a_file_cut_short_is_damaged(where, registry):
    content = Path(where).read_bytes()
    Path(where).write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=f"{Path(where).name} (is|holds no rows).*damaged"):
        list(registry.source_for(where)().rows(where))


def test_what_is_no_parquet_file_is_told_as_such(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_text('{"text": "hi"}\n' * 10)
    with pytest.raises(DataError, match=r"rows\.parquet is no Parquet file, or a damaged one: .*magic"):
        Parquet().rows(str(path))
    with pytest.raises(DataError, match=r"none\.parquet does not exist \(did you mean 'rows\.parquet'\?\)"):
        Parquet().rows(str(tmp_path / "none.parquet"))


def test_a_damaged_group_costs_its_own_rows_and_each_of_them_is_counted(tmp_path, table):
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=1000, compression="none", use_dictionary=False)
    second = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    content[second.data_page_offset : second.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    rows = list(Parquet().rows(str(path)))
    assert [row.line for row in rows] == list(range(1, 2501))
    assert [row.line for row in rows if row.fault] == list(range(1001, 2001))
    assert rows[1000].fault.startswith("group 2 of the rows is damaged: ")


def test_a_value_that_cannot_be_read_is_the_fault_of_its_row(tmp_path):
    text = pa.array([b"one", b"caf\xe9", b"three"]).view(pa.string())
    pq.write_table(pa.table({"text": text, "day": [date(2026, 1, 2)] * 3}), tmp_path / "rows.parquet")
    rows = list(Parquet().rows(str(tmp_path / "rows.parquet")))
    assert [row.fields.get("text") for row in rows] == ["one", None, "three"]
    assert rows[0].fields["day"] == date(2026, 1, 2)
    assert "can't decode byte 0xe9" in rows[1].fault


@pytest.fixture
def labelled() -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    return Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)


def test_numbers_that_stand_for_names_are_read_as_these(tmp_path, labelled, registry):
    labelled.to_parquet(tmp_path / "rows.parquet")
    labelled.save_to_disk(tmp_path / "saved")
    shutil.copy(next((tmp_path / "saved").glob("*.arrow")), tmp_path / "rows.arrow")
    for name in ("rows.parquet", "rows.arrow", "saved"):
        where = str(tmp_path / name)
        source = registry.source_for(where)()
        assert source.guess(where) == "numbers are read as the names they stand for: label = neg, pos"
        assert [row.fields["label"] for row in source.rows(where)] == ["pos", "neg", None]
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "plain.parquet")
    assert Parquet().guess(str(tmp_path / "plain.parquet")) is None


def test_of_a_data_set_with_several_splits_one_is_to_be_named(tmp_path, labelled, registry):
    DatasetDict({"train": labelled, "test": labelled}).save_to_disk(tmp_path / "both")
    where = str(tmp_path / "both")
    assert registry.source_for(where) is Arrow
    with pytest.raises(DataError, match="both holds several splits: name the folder of one of test, train"):
        Arrow().rows(where)
    assert len(list(Arrow().rows(f"{where}/train"))) == 3
    with pytest.raises(PluginError, match="no source reads files without a suffix"):
        registry.source_for(str(tmp_path))
