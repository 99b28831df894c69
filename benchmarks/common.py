"""What the benchmarks share: the peers' environment, workers of either side, the machine, tables.

Each side of a benchmark is a worker: a process that reads `job.json`, times its own loop and writes
`result.json`. Ours runs in this interpreter's environment, the peer's in `.venv-peers`, made on first use
from `requirements-peers.txt`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".venv-peers"
REQUIREMENTS = HERE / "requirements-peers.txt"
ATTENTION_BACKWARD = 2.5  # of the forward pass: five products where the forward pass has two


def rows_folder(name: str) -> Path:
    """A folder of the public test data."""
    root = os.environ.get("STEPLADDER_TEST_DATA")
    if root is None:
        sys.exit("benchmarks: set STEPLADDER_TEST_DATA to the folder of the test data")
    return Path(root) / name


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [json.loads(line) for line in file]


# --- workers ---


def peers_python() -> Path:
    """The peers' interpreter; its environment is made when it is missing or its pins have changed."""
    python, stamp = PEERS / "bin" / "python", PEERS / "made-from.txt"
    pins = REQUIREMENTS.read_text()
    if not stamp.is_file() or stamp.read_text() != pins:
        print(f"making {PEERS} (several minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        torch = next(line for line in pins.splitlines() if line.startswith("torch=="))
        # torch first and alone: then nothing else decides which build of it is taken.
        subprocess.run([python, "-m", "pip", "install", "-q", torch], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", REQUIREMENTS], check=True)
        stamp.write_text(pins)
    return python


def work(python: Path | str, script: str, job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run one worker in the new `folder` and return its result. Ends the benchmark where the worker fails."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job))
    settings = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    environment = {**os.environ, **settings}
    finished = subprocess.run(
        [python, HERE / script], cwd=folder, env=environment, capture_output=True, text=True
    )
    if finished.returncode != 0:
        sys.exit(f"{script} failed:\n{finished.stderr[-4000:]}")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


@dataclass(frozen=True)
class Figures:
    """One side over all rounds: the medians of its times, and the most memory it took."""

    seconds: float
    cpu_seconds: float
    peak_gigabytes: float

    @classmethod
    def of(cls, results: Sequence[Mapping[str, Any]]) -> Figures:
        return cls(
            median(result["seconds"] for result in results),
            median(result["cpu_seconds"] for result in results),
            max(result["peak_gigabytes"] for result in results),
        )


# --- the machine, and the least work ---


def load() -> float:
    """The machine's load average over the last minute."""
    return os.getloadavg()[0]


def machine() -> str:
    """Processor, cores and memory."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


class Work:
    """Matrix-multiply FLOPs of a decoder with the trunk's P weights, L layers, heads of D, and H x V head."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        trunk = model.base_model
        self.weights = sum(
            p.numel() for name, p in trunk.named_parameters() if p.ndim == 2 and "embed" not in name
        )
        self.attention = config.num_hidden_layers * config.num_attention_heads * config.head_dim
        self.head = config.hidden_size * config.vocab_size

    def forward(self, tokens: int, pairs: int, predicted: int) -> float:
        """Of `tokens` read, `pairs` of a token and one it sees, and `predicted` positions of the head."""
        return 2 * self.weights * tokens + 4 * self.attention * pairs + 2 * self.head * predicted

    def lora(self, tokens: int, pairs: int, predicted: int) -> float:
        """Forward and backward with frozen weights, whose own gradients nobody needs."""
        backward = (
            2 * self.weights * tokens
            + 4 * ATTENTION_BACKWARD * self.attention * pairs
            + 2 * self.head * predicted
        )
        return self.forward(tokens, pairs, predicted) + backward


# --- what is printed ---


def heading(title: str, versions: Mapping[str, str]) -> None:
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"\n{title}\n{date.today()}; {machine()}; load {load():.1f}\n{named}")


def show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console(width=150).print(table)


def conclude(ratios: Mapping[str, float], goal: float, same: bool) -> None:
    """The verdict; exit code 1 where the two sides did not compute the same."""
    for name, ratio in ratios.items():
        reached = "reached" if ratio >= goal else "not reached"
        print(f"{name}: {ratio:.2f} times the peer, goal {goal:g} {reached}")
    sys.exit(conclude_same(same))


def conclude_same(same: bool) -> int:
    """The verdict where only equality is asked for; the exit code."""
    print(f"same result: {'yes' if same else 'NO'}")
    return 0 if same else 1
