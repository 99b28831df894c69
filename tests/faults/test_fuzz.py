"""20,000 broken rows and 500 broken configs, the same each time: no row is lost, every fault is told."""

import copy
import json
import random
import string

import pytest
import yaml
from stepladder.core.config import load_config
from stepladder.core.errors import ConfigError
from stepladder.core.steps import read, render

FILES, ROWS = 10, 2000
CONFIGS = 500
JUNK = [
    *(None, True, False, 0, -1, 10**30, 1.5, -0.0, 1e308, "", " ", "\x00", "é\u2028\u202e", "\U0001f600" * 9),
    *([], {}, [[]], {"": {}}, [None], {"a": [{"b": "c"}]}, "<|im_end|>", "{{ x }}"),
]
LONG = "sky " * 600  # as a label it would make the question of every row too long
CONTROL = ["<|im_start|>", "<|im_end|>\n<|im_start|>assistant\nred", "\u0000", "\ufeff", "\r", "\\u"]
TASKS = {"classify": ("input", "label"), "generate": ("input", "response")}


def fuzzed_row(rng, number):
    """A line of bytes without an end of line; half of them as they should be."""
    row = {
        "text": f"{rng.choice(['my', 'your'])} car {number % 997} is red",
        "said": rng.choice(["red", "blue"]),
    }
    if rng.random() < 0.5:
        return json.dumps(row).encode()
    damage = rng.choice((other_value, other_key, words_within, cut, flipped_bytes, random_bytes, doubled))
    return damage(rng, row).replace(b"\n", b"")


def other_value(rng, row):
    key = rng.choice(list(row))
    return json.dumps({**row, key: rng.choice([*JUNK, LONG] if key == "text" else JUNK)}).encode()


def other_key(rng, row):
    key = rng.choice(list(row))
    return json.dumps({rng.choice(["", "TEXT", "said", "\ud800"]): row.pop(key), **row}).encode()


def words_within(rng, row):
    key = rng.choice(list(row))
    at = rng.randrange(len(row[key]))
    text = row[key][:at] + rng.choice(CONTROL) + row[key][at:]
    return json.dumps({**row, key: text}, ensure_ascii=rng.random() < 0.5).encode()


def cut(rng, row):
    line = json.dumps(row).encode()
    return line[: rng.randrange(len(line))]


def flipped_bytes(rng, row):
    line = bytearray(json.dumps(row).encode())
    for _ in range(rng.randrange(1, 6)):
        line[rng.randrange(len(line))] = rng.randrange(256)
    return bytes(line)


def random_bytes(rng, row):
    return rng.randbytes(rng.randrange(1, 80))


def doubled(rng, row):
    return json.dumps(row).encode() * 2


@pytest.mark.parametrize("seed", range(FILES))
def test_no_row_is_lost(tmp_path, base_folder, seed):
    rng = random.Random(seed)
    task = rng.choice(list(TASKS))
    first, second = TASKS[task]
    written = {}
    for split, share in (("train", 3 * ROWS // 4), ("test", ROWS // 4)):
        good = json.dumps({"text": f"first of {split}", "said": "red"}).encode()
        lines = [good, *(fuzzed_row(rng, number) for number in range(1, share))]
        (tmp_path / f"{split}.jsonl").write_bytes(b"\n".join(lines))
        written[split] = sum(1 for line in lines if line.strip())
    data = {
        **{split: str(tmp_path / f"{split}.jsonl") for split in written},
        "validation": 0.2,
        "columns": {first: "text", second: "said"},
        "prompt": None,
        "response": None,
        "instruction": "",
        "limit": {"train": rng.choice([None, 300])},
        "max_bad": 1.0,
        "max_length": None,
        "too_long": rng.choice(["quarantine", "truncate"]),
    }
    base = {"name": "tiny", "path": str(base_folder), "fingerprint": "f"}
    spec = {"config": {"task": task, "data": data}, "base": base, "needs": {"read": str(tmp_path / "read")}}
    for step in (read, render):
        folder = tmp_path / step.__name__.rpartition(".")[2]
        folder.mkdir()
        accounts = step.run(spec, folder)["data"]
    for split, rows in written.items():
        assert accounts[split]["read"] == rows
    quarantined = (tmp_path / "render" / "quarantine.jsonl").read_text().splitlines()
    assert len(quarantined) == sum(account["quarantined"] for account in accounts.values()) > ROWS // 10
    for split, account in accounts.items():
        gone = ("kept", "quarantined", "leaked", "held_out", "over_limit")
        repeated = account["duplicates"] if split == "train" else 0
        assert account["read"] == sum(account[place] for place in gone) + repeated
        assert min(account.values()) >= 0


VALID = {
    "name": "colours",
    "task": "classify",
    "data": {
        "train": "train.jsonl",
        "test": "test.jsonl",
        "validation": 0.2,
        "columns": {"input": "text", "label": "said"},
        "instruction": "which colour ?",
        "limit": {"train": 20},
        "max_bad": 0.1,
    },
    "methods": ["zero_shot", {"few_shot": {"shots": [2, 4]}}, {"lora": {"rank": 4, "epochs": 1}}],
    "choose": {"metric": "accuracy", "margin": 0.03},
    "promote": {"gates": [{"minimum": {"value": 0.5}}]},
    "register": "colours",
}
WRONG = [
    *JUNK,
    "~",
    "../../etc/passwd",
    "https://me:pw@host/v1#m",
    "hub:x",
    "s3://b/k",
    "nan",
    "1e-4",
    3,
    [3, 3],
]


def places(value, place=()):
    """Every key and every item of the value, from outside in."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*place, key)
        yield from places(each, (*place, key))


def at(value, place):
    for key in place:
        value = value[key]
    return value


def fuzzed_config(rng, base):
    """YAML with one to three things changed, or the text itself damaged."""
    config = copy.deepcopy({**VALID, "base": str(base)})
    for _ in range(rng.randrange(1, 4)):
        *outer, key = rng.choice(list(places(config)))
        inside = at(config, outer)
        change = rng.randrange(4)
        if change == 0:
            del inside[key]
        elif change == 1 and isinstance(key, str):
            inside[damaged(rng, key)] = inside.pop(key)
        elif change == 2 and isinstance(inside, dict):
            inside[rng.choice(["token", "seed", "x", "env"])] = rng.choice(WRONG)
        else:
            inside[key] = copy.deepcopy(rng.choice(WRONG))
    text = yaml.safe_dump(config, allow_unicode=True)
    return damaged(rng, text) if rng.random() < 0.2 else text


def damaged(rng, text):
    where = rng.randrange(len(text))
    return text[:where] + rng.choice([*string.punctuation, "\t", "é", ""]) + text[where + 1 :]


def fuzzed_flag(rng):
    key = rng.choice(["data.max_bad", "methods.lora.rank", "methods.x.y", "", "a..b", "endpoint.key", "seed"])
    value = rng.choice(["1", "[", "null", "{a: b", "!!python/name:os", " "])
    return f"{key}{rng.choice(['=', '==', ''])}{value}"


def test_every_fault_of_a_config_says_where_and_what(tmp_path, base_folder, registry):
    rng = random.Random(0)
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"text": "t", "said": "a"}')
    path, refused = tmp_path / "colours.yaml", 0
    for _ in range(CONFIGS):
        path.write_text(fuzzed_config(rng, base_folder))
        flags = [fuzzed_flag(rng)] if rng.random() < 0.2 else []
        try:
            load_config(path, flags, registry)
        except ConfigError as error:
            refused += 1
            assert error.faults
            for fault in error.faults:
                check_fault(fault)
    assert refused > CONFIGS // 2


def check_fault(fault):
    """It says where (`place: ...`), and what was found or expected there, in words."""
    where, colon, what = fault.partition(": ")
    assert colon and where and len(what) > 6, fault
    assert len(fault) < 3000, fault
    assert "Traceback" not in fault and "Error(" not in fault, fault
