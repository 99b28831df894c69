"""How the workers of both sides time themselves, and what this machine's matrix multiply reaches.

Imported by either environment: torch and the standard library only.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (800, 576, 1536))


class Clock:
    """Wall and processor seconds between `start` and `stop`."""

    def start(self) -> None:
        self._started, self._worked = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.seconds = time.perf_counter() - self._started
        self.cpu_seconds = time.process_time() - self._worked


def read_job() -> dict[str, Any]:
    job: dict[str, Any] = json.loads(Path("job.json").read_text())
    torch.set_num_threads(job["threads"])
    return job


def write_result(clock: Clock, packages: Iterable[str], **figures: Any) -> None:
    result = {
        "seconds": clock.seconds,
        "cpu_seconds": clock.cpu_seconds,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "versions": {name: version(name) for name in packages},
        **figures,
    }
    Path("result.json").write_text(json.dumps(result))


def matmul_rate() -> float:
    """The best float32 matrix multiply of a few shapes, in GFLOP/s."""
    return max(_rate(*shape) for shape in PRODUCTS)


def _rate(m: int, k: int, n: int) -> float:
    a, b = torch.randn(m, k), torch.randn(n, k)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        torch.nn.functional.linear(a, b)
        times.append(time.perf_counter() - started)
    return 2 * m * k * n / min(times) / 1e9
