"""Where rows are, as a config names it: files and folders beside it, addresses, places behind a scheme."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from stepladder.core.config import load_config
from stepladder.core.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(train=...)` makes a config beside train.jsonl, test.csv and a saved data set."""

    def write_config(**data: str) -> Path:
        for name in ("train.jsonl", "test.csv", "saved/state.json", "plain/rows.jsonl"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("{}")
        values = {
            "name": "intents",
            "task": "classify",
            "data": {"train": "train.jsonl", "test": "test.csv", **data},
            "methods": ["zero_shot"],
        }
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write_config


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("train.jsonl", "{folder}/train.jsonl"),
        ("file://{folder}/train.jsonl", "{folder}/train.jsonl"),
        ("./plain/../saved", "{folder}/saved"),
        ("memory://rows/train.parquet", "memory://rows/train.parquet"),
        ("https://host/a/rows.csv?sign=x.y", "https://host/a/rows.csv?sign=x.y"),
    ],
)
def test_a_place_is_made_absolute_and_an_address_stays(write, tmp_path, written, place) -> None:
    data = load_config(write(train=written.format(folder=tmp_path))).config.data
    assert data.train == place.format(folder=tmp_path)
    assert data.test == str(tmp_path / "test.csv")


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (
            "plain",
            "/plain is a folder: expected a file, or a folder that holds state.json or dataset_dict.json",
        ),
        ("htps://host/rows.csv", "htps://host/rows.csv: no protocol 'htps' (did you mean 'https'?)"),
        ("https://host/rows", "rows: no source reads files without a suffix: expected one of .arrow"),
        ("s3://me:secret@bucket/rows.csv", "the address has a password in it"),
        ("oci://bucket/rows.csv", "pip install ocifs"),
    ],
)
def test_a_place_that_nothing_can_be_read_from_is_a_fault(write, written: str, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(train=written))
    assert len(error.value.faults) == 1
    assert error.value.faults[0].startswith("data.train: ")
    assert fault in error.value.faults[0]
