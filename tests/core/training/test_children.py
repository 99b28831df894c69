"""Children are real processes here; only what they run is small."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from stepladder.core.errors import StepError
from stepladder.core.training.children import Children
from stepladder.core.training.limits import Limits

KINDS = Path(__file__).parent / "kinds"


@pytest.fixture
def children(monkeypatch):
    monkeypatch.syspath_prepend(str(KINDS))
    monkeypatch.setenv("VARIABLE", "set after the fork server may have started")
    children = Children(kinds="plain", preload=())
    yield children
    children.stop()


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.02)


def test_a_child_returns_its_result_and_its_log(children, tmp_path):
    lines = []
    ended = children.run("succeed", {"value": 3}, tmp_path, lines.append)
    assert ended.failure is None
    assert ended.result["given"] == 3
    assert ended.result["pid"] != os.getpid()
    assert ended.result["variable"] == "set after the fork server may have started"
    assert lines == [
        "to standard output",
        "to standard error",
        "from native code",
        "100 %",
        "no newline at the end",
    ]
    assert (tmp_path / "made.txt").read_text() == "made"
    assert json.loads((tmp_path / "result.json").read_text()) == ended.result
    assert ended.seconds > 0


IMPORTING = """
import sys, wave
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stepladder.core.training.children import Children
children = Children(kinds="plain", preload=())
print(children.run("succeed", {"value": 3}, Path(sys.argv[2]), lambda line: None).result["modules"])
"""


def test_a_child_does_not_import_the_main_module_of_its_parent(tmp_path):
    main = tmp_path / "importing.py"
    main.write_text(IMPORTING)
    command = [sys.executable, main, KINDS, tmp_path]
    ended = subprocess.run(command, env={**os.environ, "VARIABLE": ""}, stdout=subprocess.PIPE, check=True)
    assert ended.stdout == b"[]\n"


def test_an_error_of_the_user_keeps_its_message_and_exit_code(children, tmp_path):
    ended = children.run("refuse", {}, tmp_path, lambda line: None)
    assert ended.result is None
    assert (ended.failure.type, ended.failure.exit_code) == ("DataError", 2)
    assert ended.failure.message == "train.jsonl: 9 of 10 rows are bad"
    assert 'raise DataError("train.jsonl' in ended.failure.traceback
    assert set(json.loads((tmp_path / "error.json").read_text())) == {
        "type",
        "message",
        "exit_code",
        "traceback",
    }


def test_a_missing_kind_is_a_failure(children, tmp_path):
    ended = children.run("absent", {}, tmp_path, lambda line: None)
    assert ended.failure.message == "ModuleNotFoundError: No module named 'plain.absent'"


@pytest.mark.parametrize(
    ("how", "said"), [("exit", "ended with exit code 7"), ("kill", "was killed by SIGKILL")]
)
def test_a_crash_is_told_with_the_last_lines(children, tmp_path, how, said):
    ended = children.run("die", {"how": how}, tmp_path, lambda line: None)
    assert said in ended.failure.message
    assert ended.failure.message.endswith("  about to end")
    assert (tmp_path / "error.json").exists()


def test_of_a_flood_the_log_has_all_and_those_who_watch_some(children, tmp_path):
    lines = []
    ended = children.run(
        "shout", {"how": "print", "lines": 300_000, "characters": 3_000_000}, tmp_path, lines.append
    )
    assert ended.failure is None
    assert lines[0] == "line 0"
    assert lines[-1] == "the end"
    assert any("bytes are passed over here; the log has them: " in line for line in lines)
    assert sum(map(len, lines)) < 500_000
    assert max(map(len, lines)) <= 8192
    assert (tmp_path / "log.txt").stat().st_size > 6_000_000


def test_a_failure_is_no_longer_than_anybody_reads(children, tmp_path):
    ended = children.run("shout", {"how": "raise"}, tmp_path, lambda line: None)
    assert ended.failure.message.startswith("ValueError: xxx")
    assert ended.failure.message.endswith("x… (2,990,000 characters more)")
    assert len(ended.failure.traceback) == 10_000


@pytest.mark.parametrize("how", ["sleep", "busy"])
def test_a_child_is_killed_when_its_time_is_up(children, tmp_path, how):
    ended = children.run("die", {"how": how}, tmp_path, lambda line: None, Limits(minutes=0.01))
    assert ended.failure.message.startswith("die: not done within limits.minutes: 0.01; it had come to: ")
    assert ended.seconds < 10


@pytest.mark.parametrize("what", ["python", "numpy", "torch"])
def test_a_child_that_wants_more_memory_than_its_limit_says_so(children, tmp_path, what):
    """What libraries have only reserved when the child starts does not count."""
    ended = {}
    for size in (300_000_000, 10**12):
        folder = tmp_path / str(size)
        folder.mkdir()
        spec = {"what": what, "bytes": size}
        ended[size] = children.run("hoard", spec, folder, print, Limits(memory_gb=0.9))
    fits, ended = ended.values()
    assert fits.failure is None
    said = ended.failure.message
    assert said.startswith("hoard: more than limits.memory_gb: 0.9 (it held ")
    assert 0.3 < float(said.split("it held ")[1].split()[0]) < 1.5
    assert ended.peak_memory_bytes > 300_000_000


def test_memory_is_that_of_the_child(children, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    less = children.run("fill", {"bytes": 4096}, small, lambda line: None).peak_memory_bytes
    more = children.run("fill", {"bytes": 200_000_000}, large, lambda line: None).peak_memory_bytes
    assert 190_000_000 < more - less < 260_000_000


def test_stop_ends_a_running_child_with_all_that_it_started(children, tmp_path):
    lines = []
    ended = []
    thread = threading.Thread(target=lambda: ended.append(children.run("spawn", {}, tmp_path, lines.append)))
    thread.start()
    wait_until(lambda: lines)
    grandchild = int(lines[0].split()[1])
    children.stop()
    thread.join(timeout=20)
    assert ended[0].failure.message == "spawn: killed, since the run was stopped"
    wait_until(lambda: gone(grandchild), 1.0)
    with pytest.raises(StepError, match="the run has been stopped"):
        children.run("succeed", {}, tmp_path, lines.append)


GUARDED = """
import subprocess, sys
from stepladder.core.training.children import Children
other = subprocess.Popen(["sleep", "600"])
Children(preload=()).guard(other.pid)
print(other.pid, flush=True)
sys.stdin.read()
"""


def test_a_guarded_process_ends_when_its_parent_is_killed():
    command = [sys.executable, "-c", GUARDED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        other = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: gone(other), 1.0)


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stepladder.core.training.children import Children
children = Children(kinds="plain", preload=())
children.run(sys.argv[3], {"how": "busy"}, Path(sys.argv[2]), lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("kind", ["die", "spawn"])
def test_children_end_within_a_second_when_their_parent_is_killed(tmp_path, kind):
    command = [sys.executable, "-c", PARENT, str(KINDS), str(tmp_path), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= (3 if kind == "spawn" else 2), "the fork server, the child, what it started"
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: all(gone(process.pid) for process in family), 1.0)
