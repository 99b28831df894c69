"""What is written is what is read, by us and by `datasets`, row by row."""

from datasets import load_from_disk
from stepladder.core.data.store import (
    BATCH_ROWS,
    ENCODED_FEATURES,
    EXAMPLE_FEATURES,
    SplitWriter,
    batches,
    encoded_batch,
    example_batch,
    load_schema,
    load_split,
    save_schema,
    stored_lines,
)
from stepladder.core.method import DataSchema
from stepladder.core.types import Encoded, Example, Message
from stepladder.plugins.tasks.classify import Classify

EXAMPLES = [
    Example("r1", "Grüß dich\n", "a"),
    Example("r2", "user: Hi", "Hello", messages=(Message("user", "Hi"), Message("assistant", "Hello"))),
    Example("r3", "Where?", "bank", options=("bank", "river"), task="places"),
]
LINES = list(enumerate(EXAMPLES, start=10))
ENCODED = [Encoded([1, 2], [False, True]), Encoded([3], [True]), Encoded([49151, 0, 5], [False, True, True])]


def write(folder):
    with SplitWriter(folder, ENCODED_FEATURES) as writer:
        writer.write(encoded_batch(list(zip(LINES[:2], ENCODED[:2], strict=True))))
        writer.write(encoded_batch([]))
        writer.write(encoded_batch([(LINES[2], ENCODED[2])]))
    return folder


def test_rows_come_back_as_they_were(tmp_path):
    split = load_split(write(tmp_path / "train"))
    assert len(split) == 3
    assert split.examples() == EXAMPLES
    assert [split.example(index) for index in range(3)] == EXAMPLES
    assert [split.encoded(index) for index in range(3)] == ENCODED
    assert list(stored_lines(tmp_path / "train")) == LINES


def test_rows_without_tokens_come_back_too(tmp_path):
    with SplitWriter(tmp_path / "train", EXAMPLE_FEATURES) as writer:
        writer.write(example_batch(LINES))
    split = load_split(tmp_path / "train")
    assert (len(split), split.examples()) == (3, EXAMPLES)


def test_an_empty_split_is_a_split(tmp_path):
    with SplitWriter(tmp_path / "train", EXAMPLE_FEATURES):
        pass
    assert load_split(tmp_path / "train").examples() == []


def test_the_folder_is_one_of_datasets_read_from_the_disk(tmp_path):
    rows = load_from_disk(str(write(tmp_path / "train")))
    assert rows.features == ENCODED_FEATURES
    assert rows[2] == {
        "id": "r3", "line": 12, "input": "Where?", "expected": "bank", "messages": "",
        "options": ["bank", "river"], "slices": "{}", "task": "places", "tokens": [49151, 0, 5],
        "trained": [False, True, True],
    }  # fmt: skip
    assert [file["filename"].rsplit("/", 1)[1] for file in rows.cache_files] == ["data-00000-of-00001.arrow"]


def test_the_same_rows_are_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_batches_are_bounded_in_rows_and_in_characters():
    short = [(1, Example("", "x", "y"))] * (BATCH_ROWS + 1)
    assert [len(batch) for batch in batches(short)] == [BATCH_ROWS, 1]
    long = [(1, Example("", "x" * 2**20, "y"))] * 9
    assert [len(batch) for batch in batches(long)] == [4, 4, 1]


def test_a_schema_comes_back_with_its_task(tmp_path):
    schema = DataSchema(Classify(), "Which one?", ("a", "b"))
    save_schema(tmp_path, schema)
    loaded = load_schema(tmp_path, {"classify": Classify}.__getitem__)
    assert type(loaded.task) is Classify
    assert (loaded.instruction, loaded.labels) == ("Which one?", ("a", "b"))
