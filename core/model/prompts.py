"""A prompt as an adapter folder keeps it: prompt.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..method import Prompt
from ..types import Example, Message

PROMPT = "prompt.json"


def write_prompt(folder: Path, prompt: Prompt, **beside: Any) -> None:
    """With it goes what else decides how it is used, under names of its own."""
    content = {**beside, **asdict(prompt)}
    (folder / PROMPT).write_text(json.dumps(content, indent=2, ensure_ascii=False))


def read_prompt(folder: Path) -> Prompt:
    saved = _read(folder)
    demonstrations = tuple(_example(shown) for shown in saved.pop("demonstrations"))
    own = {name: saved[name] for name in saved.keys() & Prompt.__dataclass_fields__.keys()}
    return Prompt(demonstrations=demonstrations, **own)


def read_beside(folder: Path, name: str) -> Any:
    """What `write_prompt` was given under this name."""
    return _read(folder)[name]


def _read(folder: Path) -> dict[str, Any]:
    saved: dict[str, Any] = json.loads((folder / PROMPT).read_text())
    return saved


def _example(fields: Mapping[str, Any]) -> Example:
    messages = tuple(Message(**message) for message in fields["messages"])
    return Example(fields["id"], fields["input"], fields["expected"], messages, tuple(fields["options"]))
