"""A record is a row, or a fault that costs one line; the separator is found and said, or the file refused."""

import tracemalloc

import pytest
from stepladder.core.data.lines import LONGEST_LINE
from stepladder.core.errors import DataError
from stepladder.plugins.sources.csv import Csv


@pytest.fixture
def place(tmp_path):
    def write(content: str | bytes, name: str = "rows.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def told(place: str):
    return [(row.line, dict(row.fields), row.fault) for row in Csv().rows(place)]


def test_text_stays_text_and_quoted_cells_may_hold_anything(place):
    lines = [
        "id,text,label",
        '007,"one, ""two""',
        'three",1.0',
        "",
        "2026-01-02, null ,",
        '8,"",NaN',
        "9,zwölf,True",
    ]
    assert told(place("\r\n".join(lines))) == [
        (2, {"id": "007", "text": 'one, "two"\r\nthree', "label": "1.0"}, None),
        (5, {"id": "2026-01-02", "text": " null ", "label": ""}, None),
        (6, {"id": "8", "text": "", "label": "NaN"}, None),
        (7, {"id": "9", "text": "zwölf", "label": "True"}, None),
    ]


@pytest.mark.parametrize(
    ("delimiter", "word", "name"),
    [
        (",", "a comma", "rows.csv"),
        (";", "a semicolon", "rows.csv"),
        ("\t", "a tab", "rows.tsv"),
        ("\t", "a tab", "rows.csv"),
        ("|", "a bar", "rows.csv"),
        (";", "a semicolon", "rows.tsv"),
    ],
)
def test_the_separator_is_found_and_said(place, delimiter, word, name):
    rows = [("text", "label"), ("Well, I; think | so", "a"), ("one, two; three", "b"), ("four", "c")]
    content = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    where = place(content, name)
    assert Csv().guess(where) == f"columns separated by {word}: text, label"
    assert [fields["label"] for _, fields, _ in told(where)] == ["a", "b", "c"]


def test_commas_in_texts_do_not_outweigh_the_header(place):
    where = place("id;text;label\n" + "1;yes, no, perhaps, yes;a\n" * 20)
    assert Csv().guess(where) == "columns separated by a semicolon: id, text, label"
    assert told(where)[19] == (21, {"id": "1", "text": "yes, no, perhaps, yes", "label": "a"}, None)


def test_a_byte_order_mark_and_spaces_are_no_part_of_a_name(place):
    assert told(place(b"\xef\xbb\xbftext, label\nhi, a\n")) == [(2, {"text": "hi", "label": " a"}, None)]


def test_a_column_without_a_name_is_left_out(place):
    assert told(place(",text,label\n0,hi,a\n")) == [(2, {"text": "hi", "label": "a"}, None)]


def test_each_broken_record_costs_the_line_it_begins_in(place):
    lines = [
        "text,label",
        "one",
        "one,two,three",
        '"never closed,a',
        "good,b",
        'say ""x"" twice,c',
        '"quoted" badly,d',
        "fine,e",
    ]
    reason = "the header has 2: text, label"
    assert told(place("\n".join(lines))) == [
        (2, {}, f"1 column, separated by a comma; {reason}"),
        (3, {}, f"3 columns, separated by a comma; {reason}"),
        (4, {}, "broken CSV: ',' expected after '\"'"),
        (5, {"text": "good", "label": "b"}, None),
        (6, {"text": 'say ""x"" twice', "label": "c"}, None),
        (7, {}, "broken CSV: ',' expected after '\"'"),
        (8, {"text": "fine", "label": "e"}, None),
    ]


def test_a_quote_that_is_open_at_the_end_swallows_nothing(place):
    where = place('text,label\na,1\n"b,2\nc,3\nd,4\n')
    assert [(line, fault) for line, _, fault in told(where)] == [
        (2, None),
        (3, "broken CSV: unexpected end of data"),
        (4, None),
        (5, None),
    ]
    assert next(row.raw for row in Csv().rows(where) if row.fault) == '"b,2\n'


def test_a_byte_that_is_no_text_spoils_its_own_record_alone(place):
    where = place(b'text,label\n"caf\xe9\nbar",a\ntea,b\n')
    fault = "wrong encoding: byte 0xe9 at column 5 is not UTF-8"
    assert told(where) == [(2, {}, fault), (4, {"text": "tea", "label": "b"}, None)]


def test_long_cells_are_read_and_too_long_ones_are_a_fault(place):
    where = place(f"text,label\n{'x' * 500_000},a\n{'x' * LONGEST_LINE},b\ny,c\n")
    rows = told(where)
    assert [(line, fields.get("label"), fault) for line, fields, fault in rows] == [
        (2, "a", None),
        (3, None, "over-long line: more than 1,048,576 bytes"),
        (4, "c", None),
    ]


def test_a_quote_that_nobody_closes_is_not_held_to_the_end_of_the_file(place):
    where = place('text,label\n"open,a\n' + "a row that is somewhat longer,b\n" * 150_000)
    tracemalloc.start()
    faults, good = [], 0
    for row in Csv().rows(where):
        faults += [row.fault] if row.fault else []
        good += not row.fault
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (faults, good) == (["a quote that is not closed within 2,097,152 bytes"], 150_000)
    assert peak < 40_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text~label\nhi~a\n", r"a single column, 'text~label'; expected names separated by a comma, a semi"),
        ("text::label\nhi::a\n", "write the file again with one of these"),
        ("text,label,text\n", "the header names two columns 'text'"),
        ("\n\n", "the first line names no column"),
        (",,\n1,2,3\n", "the first line names no column"),
        ('"text,label\nhi,a\n', "line 1, the header: broken CSV: unexpected end of data"),
        (b"t\xe9xt,label\nhi,a\n", "line 1, the header: wrong encoding: byte 0xe9"),
        ("text,label\nhi,a\n".encode("utf-16"), r"is written in UTF-16.*; expected UTF-8"),
        ("", "is empty"),
    ],
)
def test_a_header_that_does_not_name_the_columns_stops_the_reading(place, content, message):
    where = place(content)
    for read in (Csv().rows, Csv().guess):
        with pytest.raises(DataError, match=message):
            read(where)


def test_a_single_column_of_text_is_read_as_one(place):
    where = place('text\n"Well, yes"\nNo\n')
    assert Csv().guess(where) == "read as a single column: text"
    assert [fields for _, fields, _ in told(where)] == [{"text": "Well, yes"}, {"text": "No"}]
