"""What is at an address is fetched into a file; what cannot be is told at once, with what the server said."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from stepladder.core import places
from stepladder.core.errors import DataError

ROWS = b'{"input": "hi", "label": "a"}\n'


class Answers(BaseHTTPRequestHandler):
    """Answers by the name that is asked for; /silent.jsonl says nothing until the server is closed."""

    def do_GET(self) -> None:
        if self.path.startswith("/silent"):
            self.server.closing.wait()  # type: ignore[attr-defined]
        status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
        body = b"" if self.path.startswith("/empty") else ROWS
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.tag)  # type: ignore[attr-defined]
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.closing, server.tag = threading.Event(), '"one"'  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.closing.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(server: ThreadingHTTPServer) -> Callable[[str], str]:
    return lambda name: f"http://127.0.0.1:{server.server_port}/{name}"


def test_a_file_at_an_address_is_at_hand_for_as_long_as_it_is_read(url, tmp_path: Path) -> None:
    with places.at_hand(url("rows.jsonl?part=1"), tmp_path / "fetched") as at:
        assert Path(at).read_bytes() == ROWS
        assert Path(at).name == "rows.jsonl"
    assert not Path(at).exists()
    with places.at_hand("/data/rows.jsonl", tmp_path / "other") as at:
        assert at == "/data/rows.jsonl"


def test_what_a_source_says_of_the_fetched_file_it_says_of_the_address(url, tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=rf"^{url('rows.jsonl')} is empty$"),
        places.at_hand(url("rows.jsonl"), tmp_path / "fetched") as at,
    ):
        raise DataError(f"{at} is empty")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("500.jsonl", "ClientResponseError: 500"),
        ("404.jsonl", "(404|FileNotFoundError)"),
        ("silent.jsonl", "Timeout"),
    ],
)
def test_an_address_that_gives_no_file_is_told_at_once(url, tmp_path, monkeypatch, name, said) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.3)
    with (
        pytest.raises(DataError, match=rf"{name}: nothing can be read there \(.*{said}.*Expected a file"),
        places.at_hand(url(name), tmp_path / "fetched"),
    ):
        pass
    with pytest.raises(DataError, match=rf"{name}: nothing can be read there \(.*{said}"):
        places.address_fingerprint(url(name))


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/rows\.csv: nothing can be read there"):
        places.address_fingerprint("http://127.0.0.1:9/rows.csv")


def test_the_fingerprint_of_an_address_changes_with_what_is_told_of_the_file(url, server) -> None:
    first = places.address_fingerprint(url("rows.jsonl"))
    assert places.address_fingerprint(url("rows.jsonl")) == first
    server.tag = '"two"'
    assert places.address_fingerprint(url("rows.jsonl")) != first
    assert places.address_fingerprint(url("empty.jsonl")) != places.address_fingerprint(url("rows.jsonl"))


def test_a_protocol_of_memory_is_read_as_any_other(tmp_path: Path) -> None:
    with fsspec.open("memory://folder/rows.jsonl", "wb") as file:
        file.write(ROWS)
    with places.at_hand("memory://folder/rows.jsonl", tmp_path / "fetched") as at:
        assert Path(at).read_bytes() == ROWS


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("htpps://host/rows.csv", "no protocol 'htpps' (did you mean 'https'?)"),
        ("https://me:secret@host/rows.csv", "the address has a password in it"),
        ("oci://bucket/rows.csv", "Install ocifs to access OCI Object Storage: pip install ocifs"),
        ("smb://host/rows.csv", 'smb:// needs a package that is not installed: SMB requires "smbprotocol"'),
    ],
)
def test_an_address_that_cannot_be_asked_is_known_before(address: str, fault: str) -> None:
    found = places.address_fault(address)
    assert found is not None
    assert fault in found
    assert "secret" not in found


def test_local_addresses_are_paths_and_names_have_no_query() -> None:
    assert places.plain_path("file:///data/rows.csv") == "/data/rows.csv"
    assert places.plain_path("s3://data/rows.csv") == "s3://data/rows.csv"
    assert places.file_name("https://host/a/rows.csv?sign=x.y") == "rows.csv"
    assert places.file_name("a/rows.tar.gz") == "rows.tar.gz"
    assert places.address_fault("s3://bucket/rows.csv") in (
        None,
        "s3:// needs a package that is not installed: Install s3fs to access S3: pip install s3fs",
    )
