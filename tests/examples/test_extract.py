"""The rows of the example `extract`: their objects conform to the schema that its decoders judge by."""

from __future__ import annotations

import json
from pathlib import Path

from stepladder.core.types import Example
from stepladder.plugins.scorers.json_schema import JsonSchema

FOLDER = Path(__file__).parents[2] / "examples" / "extract"


def rows(split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / f"{split}.jsonl").read_text().splitlines()]


def test_every_order_conforms_and_no_message_comes_twice():
    train, test = rows("train"), rows("test")
    assert (len(train), len(test)) == (80, 40)
    scorer = JsonSchema(JsonSchema.settled(JsonSchema.Settings(file=FOLDER / "order.schema.json")))
    for row in (*train, *test):
        assert scorer.score(Example("", "", ""), row["order"], ended=True) == 1, row
        assert json.loads(row["order"])["day"].lower() in row["message"].lower()
    messages = [row["message"] for row in (*train, *test)]
    assert len(set(messages)) == 120
