"""The real loader on folders in the layout of the hub, and on a small stand-in for the hub itself."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from stepladder.core.errors import DataError
from stepladder.plugins.sources.hub import Hub

CONFIGS = """---
configs:
- config_name: small
  data_files: [{split: train, path: small/train.jsonl}, {split: dev, path: small/dev.jsonl}]
- config_name: large
  data_files: large.jsonl
---
"""


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A data set as Parquet files whose names give the splits."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    for split, labels in {"train": [0, 1] * 1200, "test": [1, 0]}.items():
        rows = {"text": [f"{split} {n}" for n in range(len(labels))], "label": labels}
        path = tmp_path / "layout" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_dict(rows, features=features).to_parquet(path)
    return tmp_path / "layout"


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A data set of two configurations, which its card names."""
    folder = tmp_path / "configured"
    (folder / "small").mkdir(parents=True)
    (folder / "README.md").write_text(CONFIGS)
    for name in ("small/train", "small/dev", "large"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    return folder


def resolve(place: str, folder: Path, split: str = "train") -> str:
    return Hub.resolve(place, folder, split)  # type: ignore[arg-type]


def texts(place: str) -> list[str]:
    return [row.fields["text"] for row in Hub().rows(place)]


@pytest.mark.parametrize(
    ("written", "split", "resolved"),
    [
        ("hub:owner/name", "train", "hub:owner/name#train"),
        ("hub:owner/name", "validation", "hub:owner/name#validation"),
        ("hub:owner/na.me-2:config#dev", "test", "hub:owner/na.me-2:config#dev"),
        ("hub:./layout", "test", "hub:{folder}/layout#test"),
        ("hub:{folder}/layout:c#dev", "test", "hub:{folder}/layout:c#dev"),
    ],
)
def test_a_place_names_its_split(layout, tmp_path, written, split, resolved):
    place = resolve(written.format(folder=tmp_path), tmp_path, split)
    assert place == resolved.format(folder=tmp_path)
    assert resolve(place, Path("/elsewhere"), "validation") == place


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("hub:name", "hub:name: expected hub:owner/name, hub:owner/name:config, or hub:./folder"),
        ("hub:a/b/c", "expected hub:owner/name"),
        ("hub:", "expected hub:owner/name"),
        ("hub:owner/name#train#test", "expected hub:owner/name"),
        ("hub:./layuot", r"no such folder: .*/layuot \(did you mean 'layout'\?\)"),
    ],
)
def test_what_can_be_no_place_is_told_with_what_can(layout, tmp_path, written, message):
    with pytest.raises(DataError, match=message):
        resolve(written, tmp_path)


def test_rows_of_a_folder_in_order_with_the_names_of_their_classes(layout, tmp_path):
    place = resolve("hub:./layout", tmp_path)
    assert Hub().guess(place) == "numbers are read as the names they stand for: label = neg, pos"
    rows = list(Hub().rows(place))
    assert [row.line for row in rows] == list(range(1, 2401))
    assert rows[1999].fields == {"text": "train 1999", "label": "pos"}
    assert texts(resolve("hub:./layout", tmp_path, "test")) == ["test 0", "test 1"]


def test_the_configuration_is_named_where_there_are_several(configured, tmp_path):
    assert texts(resolve("hub:./configured:small#dev", tmp_path)) == ["small/dev"]
    assert texts(resolve("hub:./configured:large", tmp_path)) == ["large"]
    with pytest.raises(DataError, match=r"it has several configurations: expected one of small, large, such"):
        Hub().rows(resolve("hub:./configured", tmp_path))
    with pytest.raises(DataError, match=r"no configuration 'smal' \(did you mean 'small'\?\); expected one"):
        Hub().rows(resolve("hub:./configured:smal", tmp_path))
    with pytest.raises(
        DataError, match=r"no split 'validation'; expected one of dev, train, such as hub:.*#dev"
    ):
        Hub().rows(resolve("hub:./configured:small", tmp_path, "validation"))


MIXED = [{"text": "row 0", "label": 0, "tags": [1]}, {"text": "row 1", "label": "one", "tags": ["a", None]}]


def test_mixed_types_in_a_column_of_one_file_are_read_as_they_are(tmp_path):
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "train.jsonl").write_text("\n".join(map(json.dumps, MIXED)))
    assert [row.fields for row in Hub().rows(resolve("hub:./mixed", tmp_path))] == MIXED


def test_mixed_types_across_files_are_told_with_where(tmp_path):
    (tmp_path / "mixed").mkdir()
    for number, row in enumerate(MIXED):
        (tmp_path / "mixed" / f"train-{number}.jsonl").write_text(json.dumps(row))
    with pytest.raises(
        DataError, match=r"mixed#train: nothing can be read behind row \d: .*'one'.*one type each"
    ):
        list(Hub().rows(resolve("hub:./mixed", tmp_path)))


def test_code_that_comes_with_a_data_set_is_refused(tmp_path):
    (tmp_path / "coded").mkdir()
    (tmp_path / "coded" / "coded.py").write_text("import pathlib; pathlib.Path(__file__ + '.ran').touch()")
    with pytest.raises(DataError, match="scripts are no longer supported"):
        Hub().rows(resolve("hub:./coded", tmp_path))
    assert [path.name for path in (tmp_path / "coded").iterdir()] == ["coded.py"]


def test_the_fingerprint_is_of_the_rows_and_of_what_is_read_of_them(layout, tmp_path):
    train = Hub().fingerprint(resolve("hub:./layout", tmp_path))
    layout.rename(tmp_path / "moved")
    assert Hub().fingerprint(resolve("hub:./moved", tmp_path)) == train
    assert Hub().fingerprint(resolve("hub:./moved", tmp_path, "test")) != train
    (tmp_path / "moved" / ".cache").mkdir()
    (tmp_path / "moved" / ".cache" / "seen").touch()
    assert Hub().fingerprint(resolve("hub:./moved", tmp_path)) == train
    (tmp_path / "moved" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert Hub().fingerprint(resolve("hub:./moved", tmp_path)) != train


def test_without_a_network_the_way_out_is_told_at_once(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}"
        )
        started = time.monotonic()
        for ask in (Hub().fingerprint, Hub().rows):
            with pytest.raises(DataError) as error:
                ask("hub:owner/name#train")
            assert str(error.value).startswith(
                "hub:owner/name#train: the hub does not answer for owner/name (C"
            )
            assert "`hf download owner/name --repo-type dataset --local-dir FOLDER`" in str(error.value)
    assert time.monotonic() - started < 5


class Stub(BaseHTTPRequestHandler):
    """Answers every question about a data set with the server's status and the hub's code for it."""

    def do_GET(self) -> None:
        status, code = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (404, "RepoNotFound"),
            "the hub has no data set owner/name, or it is private: check the name, or set HF_TOKEN",
        ),
        ((403, "GatedRepo"), "owner/name is given to those who asked for it"),
        ((500, ""), r"the hub does not answer for owner/name \(.*500"),
    ],
)
def test_what_the_hub_says_instead_of_rows(hub, answer, message):
    hub.answer = answer
    with pytest.raises(DataError, match=f"^hub:owner/name#train: {message}"):
        Hub().rows("hub:owner/name#train")
