"""Hand-made files with every fault: where each row goes, and the account of all of them."""

import json
from collections import Counter

import pytest
from stepladder.core.errors import DataError
from stepladder.plugins.tasks.choice import Choice
from stepladder.plugins.tasks.generate import Generate
from stepladder.plugins.tasks.text import Text

ZERO = dict.fromkeys(
    ("read", "kept", "quarantined", "duplicates", "leaked", "held_out", "over_limit", "truncated"), 0
)


def labelled(count, start=0, labels=("a", "b")):
    """Different rows, their labels in turn."""
    return [{"input": f"message {n}", "label": labels[n % len(labels)]} for n in range(start, start + count)]


FAULTY = [
    {"input": "good one", "label": "a"},
    '{"input": "broken", "label": ',
    "[]",
    {"input": "no label"},
    {"input": "null label", "label": None},
    {"input": "", "label": "a"},
    {"input": 7, "label": "a"},
    b'{"input": "\xff", "label": "a"}',
    b'{"input": "' + b"long" * 2**18 + b'", "label": "a"}',
    "",
    {"input": "good one", "label": "a"},
    {"input": "good one", "label": "b"},
    {"input": "in test", "label": "a"},
    {"input": "in validation", "label": "b"},
    b'{"input": "half \\ud800 pair", "label": "a"}',
    {"input": "good two", "label": 2},
]


def test_every_fault_has_its_place(prepared):
    data = prepared(
        FAULTY,
        [
            {"input": "in test", "label": "b"},
            {"input": "in test", "label": "b"},
            {"input": "x", "label": "new"},
        ],
        validation=[{"input": "in validation", "label": "a"}, {"input": "in test", "label": "b"}],
        max_bad=0.6,
    )
    assert data.account == {
        "train": ZERO | {"read": 15, "kept": 3, "quarantined": 9, "duplicates": 1, "leaked": 2},
        "validation": ZERO | {"read": 2, "kept": 1, "leaked": 1},
        "test": ZERO | {"read": 3, "kept": 3, "duplicates": 1},
    }
    assert data.lines("train") == [1, 12, 16]
    assert data.lines("validation") == [1]
    assert data.lines("test") == [1, 2, 3]
    assert data.schema() == {"task": "classify", "instruction": "", "labels": ["2", "a", "b"]}
    assert json.loads((data.folder / "account.json").read_text()) == data.account
    assert sorted(path.name for path in data.folder.iterdir()) == [
        "account.json", "quarantine.jsonl", "schema.json", "test", "train", "validation",
    ]  # fmt: skip


def test_quarantine_lines_are_literal(prepared):
    data = prepared(FAULTY, labelled(2, 90), validation=labelled(2, 80), max_bad=0.6)
    train = str(data.folder.parent / "train.jsonl")
    assert data.quarantine() == [
        {"split": "train", "file": train, "line": line, "reason": reason, "row": row}
        for line, reason, row in [
            (2, "broken JSON: Expecting value at column 30", '{"input": "broken", "label": '),
            (3, "not an object but a list", "[]"),
            (4, "label is missing", '{"input": "no label"}'),
            (5, "label is null", '{"input": "null label", "label": null}'),
            (6, "input is empty", '{"input": "", "label": "a"}'),
            (7, "input is a number, expected text", '{"input": 7, "label": "a"}'),
            (
                8,
                "wrong encoding: byte 0xff at column 12 is not UTF-8",
                '{"input": "\ufffd", "label": "a"}',
            ),
            (9, "over-long line: more than 1,048,576 bytes", '{"input": "' + "long" * 122 + "l"),
            (
                15,
                "wrong encoding: half a surrogate pair, '\\ud800'",
                '{"input": "half \\ud800 pair", "label": "a"}',
            ),
        ]
    ]


def test_more_bad_rows_than_allowed_stop_the_run(prepared):
    rows = [*labelled(7), "{", "[]", {"input": "x"}, {"input": "", "label": "a"}]
    with pytest.raises(DataError) as error:
        prepared(rows, labelled(2, 90), max_bad=0.3)
    message = str(error.value)
    assert "train.jsonl: 4 of 11 rows (36.4%) of train cannot be used; data.max_bad allows 30.0%" in message
    assert "  line 8: broken JSON: Expecting property name enclosed in double quotes at column 2\n" in message
    assert "  line 9: not an object but a list\n  line 10: label is missing\nRepair" in message
    assert error.value.exit_code == 2


def test_exactly_the_allowed_share_of_bad_rows_passes(prepared):
    data = prepared([*labelled(15), *["{"] * 5], labelled(3, 90), max_bad=0.25)
    assert data.account["train"]["quarantined"] == 5


def test_ids_are_of_the_content_and_repeats_are_numbered(prepared):
    test = [{"input": "x", "label": "a"}, {"input": "y", "label": "a"}, {"input": "x", "label": "a"}]
    data = prepared(labelled(20), test)
    first, other, repeat = [row["id"] for row in data.rows("test")]
    assert repeat == f"{first}-2"
    assert len(first) == len(other) == 16
    moved = prepared(labelled(20), [test[1], {"input": "z", "label": "b"}, *test])
    assert [row["id"] for row in moved.rows("test")][1:] == [
        moved.rows("test")[1]["id"],
        first,
        f"{other}-2",
        repeat,
    ]


def test_a_row_keeps_its_side_and_id_when_rows_are_added(prepared):
    few = prepared(labelled(200), labelled(5, 1000))
    many = prepared([*labelled(300, 500), *reversed(labelled(200))], labelled(5, 1000))
    for split in ("train", "validation"):
        before = {(row["id"], row["input"]) for row in few.rows(split)}
        after = {(row["id"], row["input"]) for row in many.rows(split)}
        assert before < after
    assert 20 < few.account["train"]["held_out"] < 60
    assert few.account["validation"]["read"] == few.account["train"]["held_out"]


def test_rows_of_the_same_input_stay_together(prepared):
    rows = [{"input": f"message {n}", "label": label} for n in range(100) for label in "ab"]
    data = prepared(rows, labelled(5, 1000))
    train, validation = ({row["input"] for row in data.rows(split)} for split in ("train", "validation"))
    assert len(train) + len(validation) == 100
    assert not train & validation


def test_limits_keep_every_label_its_share_whatever_the_order(prepared):
    rows = labelled(400, labels=("a", "a", "a", "b"))
    data = prepared(rows, labelled(100, 1000), limit={"train": 40, "test": 10})
    labels = [row["expected"] for row in data.rows("train")]
    assert (labels.count("a"), labels.count("b")) == (30, 10)
    validation = [row["expected"] for row in data.rows("validation")]
    assert len(validation) == 10
    assert 6 <= validation.count("a") <= 8
    test = [row["expected"] for row in data.rows("test")]
    assert (test.count("a"), test.count("b")) == (5, 5)
    account = data.account
    held_out = account["train"]["held_out"]
    assert account["train"] == ZERO | {
        "read": 400,
        "kept": 40,
        "held_out": held_out,
        "over_limit": 360 - held_out,
    }
    assert account["validation"] == ZERO | {"read": held_out, "kept": 10, "over_limit": held_out - 10}
    assert account["test"] == ZERO | {"read": 100, "kept": 10, "over_limit": 90}

    turned = prepared(rows[::-1], labelled(100, 1000)[::-1], limit={"train": 40, "test": 10})
    for split in ("train", "validation", "test"):
        assert {row["id"] for row in turned.rows(split)} == {row["id"] for row in data.rows(split)}


def test_a_smaller_limit_takes_a_part_and_still_every_label(prepared):
    labels = tuple("abcdefgh")
    sets = [
        {
            row["id"]
            for row in prepared(labelled(400, labels=labels), labelled(8, 1000), limit={"train": n}).rows(
                "train"
            )
        }
        for n in (8, 30, 100)
    ]
    assert [len(ids) for ids in sets] == [8, 30, 100]
    assert sets[0] < sets[1] < sets[2]
    least = prepared(labelled(400, labels=labels), labelled(8, 1000), limit={"train": 8, "validation": 3})
    assert least.schema()["labels"] == list(labels)
    assert least.account["validation"]["kept"] == 3


def test_the_closed_set_is_the_same_however_few_rows_are_kept(prepared):
    labels = tuple("abcdefgh")
    rows, test = labelled(400, labels=labels), labelled(8, 1000)
    for limit in (0, 1, 5, None):
        data = prepared(rows, test, limit={"train": limit, "validation": 3})
        assert data.schema()["labels"] == list(labels)
        kept = data.rows("train")
        assert len({row["expected"] for row in kept}) == (8 if limit is None else limit)
        assert data.account["train"]["kept"] == len(kept)
        assert data.account["validation"]["kept"] == 3


def test_ten_rows_of_twenty_labels_have_ten_different_ones_and_larger_limits_hold_them(prepared):
    rows = labelled(1000, labels=tuple(f"label {n:02}" for n in range(20)))
    smaller = set()
    for limit in (10, 50, 200):
        kept = prepared(rows, labelled(8, 5000), limit={"train": limit, "validation": 40}).rows("train")
        counts = Counter(row["expected"] for row in kept)
        assert len(counts) == min(limit, 20)
        # Without a limit the labels have 33 to 46 training rows each: a limit takes its share of each.
        assert max(counts.values()) - min(counts.values()) <= max(1, limit // 20)
        assert smaller < {row["id"] for row in kept}
        smaller = {row["id"] for row in kept}


def test_labels_are_those_of_the_kept_training_rows(prepared):
    data = prepared(
        [*labelled(20), {"input": "in test", "label": "gone"}],
        [{"input": "in test", "label": "gone"}, {"input": "y", "label": "other"}],
    )
    assert data.schema()["labels"] == ["a", "b"]
    assert [row["expected"] for row in data.rows("test")] == ["gone", "other"]


def test_the_options_belong_to_the_input_of_a_choice(prepared):
    def row(*options, answer):
        return {"input": "Which is right?", "options": options, "answer": answer}

    data = prepared(
        [
            row("a", "b", answer="a"),
            row("c", "d", answer="c"),
            row("d", "c", answer="c"),
            row("e", "f", answer="e"),
        ],
        [row("f", "e", answer="f")],
        task=Choice(),
        validation=[row("x", "y", answer="x")],
    )
    assert data.account["train"] == ZERO | {"read": 4, "kept": 2, "duplicates": 1, "leaked": 1}
    assert [row["options"] for row in data.rows("train")] == [["a", "b"], ["c", "d"]]
    assert data.schema()["labels"] == []


def test_plain_texts_leak_and_repeat_too(prepared):
    data = prepared(
        [{"text": "one"}, {"text": "one"}, {"text": "two"}, {"text": "three"}],
        [{"text": "two"}],
        task=Text(),
        validation=[{"text": "four"}],
    )
    assert data.account["train"] == ZERO | {"read": 4, "kept": 2, "duplicates": 1, "leaked": 1}


def test_conversations_are_kept_turn_by_turn(prepared):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Grüß dich"},
        {"role": "assistant", "content": "Hallo"},
    ]
    other = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    data = prepared(
        [{"chat": turns}, {"chat": turns[:2]}, {"chat": turns[1:]}],
        [{"chat": other}],
        task=Generate(),
        validation=[{"chat": other}, {"chat": [*other, *other]}],
        columns={"messages": "chat"},
        max_bad=0.5,
    )
    assert [json.loads(row["messages"]) for row in data.rows("train")] == [turns, turns[1:]]
    assert data.quarantine()[0]["reason"] == "messages must end with an answer of the assistant"
    assert data.account["validation"] == ZERO | {"read": 2, "kept": 1, "leaked": 1}


def test_an_emptied_split_says_what_emptied_it(prepared):
    with pytest.raises(DataError) as error:
        prepared(labelled(6), labelled(6))
    expected = "no row is left for train of 6 read: 6 with the input of a test or validation row"
    assert str(error.value).endswith(f"train.jsonl: {expected}")
    with pytest.raises(
        DataError, match=r"train\.jsonl: the share of data\.validation holds out none of 6 rows"
    ):
        prepared(labelled(6), labelled(6, 10), validation=1e-9)
    with pytest.raises(DataError, match=r"test\.jsonl: no row is left for test of 1 read: 1 unusable"):
        prepared(labelled(6), ["{"], max_bad=1.0)
    with pytest.raises(DataError, match=r"test\.jsonl: no rows for test; expected one row a line"):
        prepared(labelled(6), ["", ""])


def test_one_label_is_no_classification(prepared):
    with pytest.raises(DataError, match="at least 2 labels in the training rows, found only 'a'"):
        prepared(labelled(50, labels="a"), labelled(6, 100))


def test_nothing_of_the_first_pass_stays_after_an_error(prepared, tmp_path):
    with pytest.raises(DataError):
        prepared(labelled(6), labelled(6))
    left = tmp_path / "data0" / "prepared"
    assert [path.name for path in left.iterdir()] == ["quarantine.jsonl"]
