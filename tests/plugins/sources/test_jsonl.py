"""Every line of a JSON Lines file is a row or a fault with its reason; only a whole file can be refused."""

import json
import tracemalloc
from pathlib import Path

import pytest
from stepladder.core.data.lines import LONGEST_LINE
from stepladder.core.errors import DataError
from stepladder.plugins.sources.jsonl import JsonLines


def read(tmp_path: Path, content: bytes):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    return list(JsonLines().rows(str(path)))


def long_line(length: int) -> bytes:
    """One JSON object in exactly `length` bytes."""
    return b'{"text": "' + b"a" * (length - 12) + b'"}'


def test_each_faulty_line_says_why_and_the_others_are_read(tmp_path):
    lines = [
        b'{"text": "one"}',
        b'{"text": "two"',
        b"",
        b"   ",
        b"[1, 2]",
        b'"words"',
        b"7",
        b"null",
        b'{"text": "caf\xe9"}',
        b'{"text": NaN}',
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
        '{"text": "zwölf"}'.encode(),
    ]
    rows = read(tmp_path, b"\n".join(lines))
    assert [(row.line, dict(row.fields), row.fault) for row in rows] == [
        (1, {"text": "one"}, None),
        (2, {}, "broken JSON: Expecting ',' delimiter at column 15"),
        (5, {}, "not an object but a list"),
        (6, {}, "not an object but text"),
        (7, {}, "not an object but a number"),
        (8, {}, "not an object but null"),
        (9, {}, "wrong encoding: byte 0xe9 at column 14 is not UTF-8"),
        (10, {}, "broken JSON: NaN is no JSON value"),
        (11, {}, "broken JSON: nested too deeply"),
        (12, {}, rows[9].fault),
        (13, {"text": "zwölf"}, None),
    ]
    assert "limit" in rows[9].fault
    assert rows[1].raw == '{"text": "two"'
    assert rows[6].raw == '{"text": "caf\ufffd"}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_longest_line_is_read_and_one_byte_more_is_a_fault(tmp_path, end):
    longest = read(tmp_path, long_line(LONGEST_LINE) + end)
    assert [(row.line, row.fault, len(row.fields["text"])) for row in longest] == [
        (1, None, LONGEST_LINE - 12)
    ]
    [row] = read(tmp_path, long_line(LONGEST_LINE + 1) + end)
    assert (row.line, row.fault) == (1, "over-long line: more than 1,048,576 bytes")
    assert row.raw == '{"text": "' + "a" * 490


def test_an_over_long_line_is_skipped_without_being_held(tmp_path):
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "before"}\n')
        for _ in range(64):
            file.write(b"x" * LONGEST_LINE)
        file.write(b'\n{"text": "after"}\n')
    tracemalloc.start()
    rows = [(row.line, row.fault is None) for row in JsonLines().rows(str(path))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [(1, True), (2, False), (3, True)]
    assert peak < 8 * LONGEST_LINE


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    [row] = read(tmp_path, b'\xef\xbb\xbf{"text": "one"}\r\n')
    assert (row.fields, row.fault) == ({"text": "one"}, None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_refused_as_a_whole(tmp_path, encoding):
    with pytest.raises(
        DataError, match=r"rows\.jsonl is written in UTF-(16|32).*; expected UTF-8.*iconv -f UTF-"
    ):
        read(tmp_path, json.dumps({"text": "one"}).encode(encoding))


def test_a_zero_byte_spoils_its_own_row_alone(tmp_path):
    rows = read(tmp_path, b'{\0"text": "one"}\n{"text": "two"}')
    assert [row.fault is None for row in rows] == [False, True]


def test_a_missing_file_names_the_nearest_one(tmp_path):
    (tmp_path / "train.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"trian\.jsonl does not exist \(did you mean 'train\.jsonl'\?\)"):
        JsonLines().rows(str(tmp_path / "trian.jsonl"))
    with pytest.raises(DataError, match=r"is a folder; expected a file.* holds train\.jsonl"):
        JsonLines().rows(str(tmp_path))
    with pytest.raises(DataError, match="neither does its folder"):
        JsonLines().rows(str(tmp_path / "none" / "train.jsonl"))


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty; expected one row a line"):
        read(tmp_path, b"")
