"""Memory hardly grows with the rows: of each, only its keys are held."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import sys
from pathlib import Path
from stepladder.core.data.prepare import DataPlan, prepare
from stepladder.plugins.sources.jsonl import JsonLines
from stepladder.plugins.tasks.classify import Classify

train, test, folder = sys.argv[1:]
data = {"train": train, "test": test, "validation": 0.1, "max_bad": 0.0}
prepare(DataPlan.of(data, Classify(), lambda _: JsonLines), Path(folder), print)
"""
# 300 MB for a million rows above ten thousand, in proportion.
KILOBYTES_A_ROW = 300_000 / 990_000


def write_rows(path: Path, count: int, start: int = 0) -> Path:
    with path.open("w") as file:
        for number in range(start, start + count):
            row = {"input": f"message {number} " + "word " * 20, "label": f"label {number % 100}"}
            file.write(json.dumps(row) + "\n")
    return path


def anonymous_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


def peak(tmp_path: Path, count: int) -> int:
    train = write_rows(tmp_path / f"train{count}.jsonl", count)
    test = write_rows(tmp_path / f"test{count}.jsonl", 100, start=count)
    folder = tmp_path / f"prepared{count}"
    folder.mkdir()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(train), str(test), str(folder)])
    highest = 0
    while child.poll() is None:
        highest = max(highest, anonymous_kilobytes(child.pid))
        time.sleep(0.005)
    assert child.returncode == 0
    return highest


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the figure is one of Linux")
def test_memory_grows_by_the_keys_alone(tmp_path):
    few, many = peak(tmp_path, 10_000), peak(tmp_path, 200_000)
    assert many - few < 190_000 * KILOBYTES_A_ROW
