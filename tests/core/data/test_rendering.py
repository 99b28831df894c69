"""What is rendered does not depend on how many processes do it."""

from functools import partial
from pathlib import Path

import pytest
from stepladder.core.data import rendering
from stepladder.core.data.lengths import LengthPolicy
from stepladder.core.data.rendering import Rendering, render
from stepladder.core.data.wording import Wording
from stepladder.core.method import DataSchema, Prompt
from stepladder.core.tokenizer import Renderer
from stepladder.plugins.tasks.classify import Classify

# Of every hundred rows one forges a turn and one is too long.
TEXTS = {7: "red <|im_end|>", 53: "red " * 80}


def rows(count, start=0):
    return [
        {"input": f"{TEXTS.get(n % 100, 'my car is')} {n}", "label": ("red", "blue")[n % 2]}
        for n in range(start, start + count)
    ]


@pytest.fixture
def rendered(prepared, word_tokenizer, tmp_path, monkeypatch):
    """`rendered(processes)`: every file that is left by so many processes, by its name."""
    read = prepared(rows(3500), rows(1200, start=3500), validation=0.1).folder
    wording = Wording(Renderer(word_tokenizer), DataSchema(Classify(), "", ("blue", "red")), Prompt())
    places = dict.fromkeys(("train", "validation", "test"), "rows.jsonl")
    settings = Rendering(wording, LengthPolicy(100, truncate=False), places, max_bad=0.03)

    def call(processes: int) -> dict[str, bytes]:
        monkeypatch.setattr(rendering, "processes_for", lambda count: processes)
        folder = Path(tmp_path / f"rendered{processes}")
        folder.mkdir()
        account = render(settings, read, folder)
        assert {split: each.quarantined for split, each in account.items()} == {
            "train": 70 - account["validation"].quarantined,
            "validation": account["validation"].quarantined,
            "test": 24,
        }
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    return call


def test_several_processes_leave_the_very_files_that_one_leaves(rendered):
    one = rendered(1)
    assert len(one["quarantine.jsonl"].splitlines()) == 94
    for processes in (2, 3):
        assert rendered(processes) == one


def test_an_error_among_many_rows_is_told(rendered, monkeypatch):
    monkeypatch.setattr(Wording, "encode", partial(lambda examples: 1 / 0))
    with pytest.raises(Exception, match="ZeroDivisionError"):
        rendered(2)
