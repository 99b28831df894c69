"""The same base by its URL and on this machine: what prompts reach where only written words come back.

    STEPLADDER_TEST_DATA=... python benchmarks/black_box.py

Starts a server in the OpenAI form over the default base, runs `black_box.yaml` on it and on the base itself,
and prints both. By URL the model writes a label; on this machine each label's likelihood is scored.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import HERE, heading, rows_folder, show
from stepladder.core.bases import DEFAULT_BASE
from stepladder.core.model.base import Base, load_base
from stepladder.core.model.generate import Decoding, generate
from stepladder.core.model.locate import resolve_base
from stepladder.core.types import Message


class Model:
    """Answers chats with one base, one at a time."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.lock = threading.Lock()

    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        renderer = self.base.renderer
        prompt = renderer.prompt([Message(turn["role"], turn["content"]) for turn in asked["messages"]])
        decoding = Decoding(
            temperature=asked["temperature"],
            top_p=asked["top_p"],
            max_new_tokens=asked["max_tokens"],
            seed=asked["seed"],
        )
        with self.lock:
            ((written,),) = generate(self.base.model, [prompt], renderer.stop_ids, decoding)
        text = renderer.tokenizer.decode(written.tokens, skip_special_tokens=True)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop" if written.ended else "length",
        }
        counted = {"prompt_tokens": len(prompt), "completion_tokens": len(written.log_probabilities)}
        return {"object": "chat.completion", "choices": [choice], "usage": counted}


@contextlib.contextmanager
def serving(model: Model) -> Iterator[str]:
    """The server's URL, up to /v1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = json.dumps(model.complete(asked)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def run(base: str, folder: Path) -> list[dict[str, Any]]:
    """The candidates of a run of the config on that base, as result.json has them."""
    data = rows_folder("clinc150_20")
    command = Path(sys.executable).with_name("stepladder")
    given = {"base": base, "data.train": data / "train.jsonl", "data.test": data / "test.jsonl"}
    flags = [f"--set={key}={value}" for key, value in given.items()]
    arguments = ["run", HERE / "black_box.yaml", "--engine", "inline", "--runs", folder, *flags]
    subprocess.run([command, *arguments], check=True)
    (result,) = folder.glob("black-box-*/result.json")
    candidates: list[dict[str, Any]] = json.loads(result.read_text())["candidates"]
    return candidates


def labels_written(candidate: dict[str, Any], labels: set[str]) -> float:
    """The share of test rows at which what was written means a label."""
    said = [json.loads(line)["predicted"] for line in Path(candidate["predictions"]).read_text().splitlines()]
    return sum(predicted in labels for predicted in said) / len(said)


def row(here: dict[str, Any], there: dict[str, Any], labels: set[str]) -> list[str]:
    accuracies = [f"{each['metrics']['accuracy']['value']:.2f}" for each in (here, there)]
    seconds = [f"{each['cost']['evaluate_seconds']:.0f}" for each in (here, there)]
    read = f"{there['cost']['prompt_tokens']:,}"
    return [here["id"], *accuracies, f"{labels_written(there, labels):.0%}", *seconds, read]


def main() -> None:
    with TemporaryDirectory() as folder:
        with serving(Model(load_base(resolve_base(DEFAULT_BASE, HERE)))) as url:
            there = run(f"{url}#{DEFAULT_BASE}", Path(folder) / "url")
        here = run(DEFAULT_BASE, Path(folder) / "here")
        lines = (rows_folder("clinc150_20") / "train.jsonl").read_text().splitlines()
        labels = {json.loads(line)["intent"] for line in lines}
        heading(
            "One base by URL and on this machine: clinc150_20, 60 test rows",
            {name: version(name) for name in ("torch", "transformers", "httpx")},
        )
        show(
            [
                "candidate",
                "scored here",
                "written by URL",
                "labels written",
                "s here",
                "s by URL",
                "tokens read",
            ],
            [row(*pair, labels) for pair in zip(here, there, strict=True)],
        )


if __name__ == "__main__":
    main()
