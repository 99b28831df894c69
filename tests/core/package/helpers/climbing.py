"""A run in this process, step by step, on the tiny base: what a package is made of, in seconds."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
NAMES = ("the car", "my house", "your door", "the paint")
VERBS = ("is", "was", "looks", "seems")
COLOURS = ("red", "blue", "green")


def things() -> list[tuple[str, str]]:
    """48 different texts and the colour in each."""
    return [
        (f"{name} {verb} quite {colour}", colour) for verb in VERBS for name in NAMES for colour in COLOURS
    ]


def classify_rows() -> list[Json]:
    return [{"input": text, "label": colour} for text, colour in things()]


def choice_rows() -> list[Json]:
    """Each row brings two answers, the right one now first, now last."""
    rows = []
    for place, (text, colour) in enumerate(things()):
        options = [colour, "dull"] if place % 2 else ["dull", colour]
        rows.append({"input": text, "answer": colour, "options": options})
    return rows


def generate_rows() -> list[Json]:
    return [{"input": text, "response": f"{colour} today"} for text, colour in things()]


def chat_rows() -> list[Json]:
    turns = ("user", "assistant")
    return [
        {"messages": [{"role": role, "content": said} for role, said in zip(turns, pair, strict=True)]}
        for pair in things()
    ]


def number_rows() -> list[Json]:
    return [{"input": text, "target": len(text) / 10} for text, _ in things()]


def text_rows() -> list[Json]:
    return [{"text": text} for text, _ in things()]


LORA = {"lora": {"rank": 2, "epochs": 1}}
DRAWN = {"zero_shot": {"decoder": {"sample": {"temperature": 1.0}}, "max_new_tokens": 4}}
RUNS: dict[str, tuple[Callable[[], list[Any]], dict[str, Any]]] = {
    "classify": (classify_rows, {"methods": [LORA], "data_license": "CC-BY-4.0"}),
    "choice": (choice_rows, {"task": "choice"}),
    "generate": (
        generate_rows,
        {"task": "generate", "methods": [{"zero_shot": {"max_new_tokens": 4}}]},
    ),
    "drawn": (generate_rows, {"task": "generate", "methods": [DRAWN]}),
    "number": (number_rows, {"task": "regress", "methods": ["linear_probe"]}),
    "text": (text_rows, {"task": "text"}),
    "chat": (chat_rows, {"task": "generate", "methods": [{"zero_shot": {"max_new_tokens": 4}}]}),
}


@dataclass
class Climb:
    """A run under way. `folder` holds its config and rows; each step leaves `<folder>/steps/<node>`."""

    folder: Path
    config: Json
    base: Json
    candidates: list[Json]
    run: Json
    needs: dict[str, str] = field(default_factory=dict)

    def step(self, node: str, **about: Any) -> Json:
        """Do one step with all steps before it; returns its result."""
        place = self.folder / "steps" / node.replace(":", "-")
        place.mkdir(parents=True)
        spec = {"config": self.config, "base": self.base, "run": self.run, "needs": dict(self.needs)}
        spec |= {"fingerprint": self.run["fingerprint"], "scratch": f"{place}.scratch"}
        kind = importlib.import_module(f"stepladder.core.steps.{node.partition(':')[0]}")
        result: Json = kind.run({**spec, "candidates": self.candidates, "failures": {}, **about}, place)
        (place / "result.json").write_text(json.dumps(result))
        self.needs[node] = str(place)
        return result

    def judge(self) -> Json:
        """Everything up to the comparison; returns the chosen candidate's entry."""
        self.step("read")
        self.step("render")
        for candidate in self.candidates:
            for kind in ("fit", "evaluate"):
                self.step(f"{kind}:{candidate['id']}", candidate=candidate)
        compared = self.step("compare")
        chosen = compared["choice"]["id"]
        return next(entry for entry in compared["candidates"] if entry["id"] == chosen)

    def contents(self) -> Any:
        from stepladder.core.package.pack import Contents

        entry = self.judge()
        return Contents(self.run, entry, self.base, self.config, Path(self.needs["render"]))

    def register(self) -> Json:
        """The whole run; the fingerprint stands for the real one. Returns what is registered."""
        self.judge()
        self.step("record", failed={})
        return self.step("register")["registered"]


def climb(folder: Path, base: Path, rows: Sequence[Json], changes: Mapping[str, Any]) -> Climb:
    """A run of zero_shot on the rows, the last 16 of them for the test; `changes` are keys of its config."""
    from stepladder.core.config import load_config
    from stepladder.core.model.locate import resolve_base
    from stepladder.core.package.commit import find_commit
    from stepladder.core.steps.graph import as_json

    folder.mkdir()
    for name, part in (("train", rows[:-16]), ("test", rows[-16:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    config = {
        "name": "colours",
        "base": str(base),
        "task": "classify",
        "data": {"train": "train.jsonl", "test": "test.jsonl", "validation": 0.25},
        "methods": ["zero_shot"],
        "register": "colours",
        **changes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    resolved = load_config(folder / "run.yaml", ())
    found = resolve_base(str(base), folder)
    return Climb(
        folder=folder,
        config=resolved.config.model_dump(mode="json", by_alias=True),
        base=found.to_json(),
        candidates=[as_json(candidate) for candidate in resolved.candidates],
        run={
            "name": config["name"],
            "fingerprint": f"{folder.name:f<64}",
            "run_dir": str(folder / "run"),
            "data_sha256": {"train": "1" * 64, "test": "2" * 64},
            "commit": find_commit(folder),
        },
    )
