"""Scorers in real processes: they raise, hang and die, and the next answer is judged all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stepladder.core.decoder import Attempt
from stepladder.core.errors import StepError
from stepladder.core.scoring.judge import ProcessJudge
from stepladder.core.types import Example, Message
from stepladder.plugins.scorers.callable import CallableScorer
from stepladder.plugins.scorers.regex import Regex

LOWEST = -float("inf")
ROW = Example("a", "what ?", "the secret")
ANSWERS = """
import os, time

def judge(answer, input):
    print("a scorer may print what it likes")
    if answer == "raise":
        raise RuntimeError("broken")
    if answer == "hang":
        time.sleep(60)
    if answer == "die":
        os._exit(3)
    if answer == "nan":
        return float("nan")
    return 1000 * len(input) + len(answer) + os.getpid() * 0
"""


@pytest.fixture
def judge(tmp_path, monkeypatch):
    (tmp_path / "answers_of_a_test.py").write_text(ANSWERS)
    monkeypatch.syspath_prepend(str(tmp_path))

    def with_limit(seconds: float) -> ProcessJudge:
        return ProcessJudge(
            CallableScorer, CallableScorer.Settings(function="answers_of_a_test:judge", seconds=seconds)
        )

    return with_limit


def test_what_raises_hangs_or_dies_is_counted_and_scored_lowest(judge):
    asked = judge(0.5)
    texts = ["ok", "raise", "fine", "hang", "again", "die", "nan", "end"]
    started = time.monotonic()
    assert asked.scores([Attempt(ROW, text) for text in texts]) == [
        *(6002.0, LOWEST, 6004.0, LOWEST, 6005.0, LOWEST, LOWEST, 6003.0)
    ]
    assert time.monotonic() - started < 50, "the one that hangs is not waited for"
    assert asked.faults == {"raised": 2, "timed_out": 1, "died": 1}


def test_the_same_answer_is_judged_once(judge):
    asked = judge(20.0)
    assert asked.scores([Attempt(ROW, "raise")] * 5) == [LOWEST] * 5
    assert asked.faults["raised"] == 1


def test_a_pattern_that_backtracks_for_ever_is_cut_off():
    asked = ProcessJudge(Regex, Regex.Settings(pattern="(a+)+$", seconds=0.5))
    assert asked.scores([Attempt(ROW, "aaa"), Attempt(ROW, "a" * 60 + "b")]) == [1.0, LOWEST]
    assert asked.faults["timed_out"] == 1


def test_a_scorer_that_cannot_be_made_is_told_by_name():
    broken = ProcessJudge(CallableScorer, CallableScorer.Settings(function="os:no_such_function"))
    with pytest.raises(StepError, match="scorer 'callable' cannot be made: AttributeError"):
        broken.scores([Attempt(ROW, "x")])


def test_the_expected_answer_does_not_reach_the_scorer(tmp_path, monkeypatch):
    (tmp_path / "curious_scorer.py").write_text(
        "from stepladder.core.decoder import Scorer\n"
        "class Curious(Scorer):\n"
        "    name = 'curious'\n"
        "    def score(self, example, answer, ended):\n"
        "        return float('secret' in repr(example)) + 2 * len(example.messages) + 10 * ended\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from curious_scorer import Curious

    turns = (Message("user", "what ?"), Message("assistant", "the secret"))
    row = Example("a", "what ?", "the secret", turns)
    asked = ProcessJudge(Curious, Curious.Settings(seconds=20))
    assert asked.scores([Attempt(row, "x"), Attempt(row, "x", ended=False)]) == [12.0, 2.0]


def test_the_process_ends_with_its_parent_even_where_both_hang(tmp_path):
    (tmp_path / "hanging.py").write_text(
        "import os, pathlib\n"
        "def judge(answer, input):\n"
        "    pathlib.Path(answer).write_text(str(os.getpid()))\n"
        "    while True: pass\n"
    )
    told = tmp_path / "pid"
    program = (
        "from stepladder.core.scoring.judge import ProcessJudge\n"
        "from stepladder.core.decoder import Attempt\n"
        "from stepladder.core.types import Example\n"
        "from stepladder.plugins.scorers.callable import CallableScorer\n"
        "settings = CallableScorer.Settings(function='hanging:judge', seconds=2)\n"
        f"ProcessJudge(CallableScorer, settings).scores([Attempt(Example('a', '', ''), {str(told)!r})])\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    parent = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths})
    wait_until(lambda: told.exists() and told.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not is_running(int(told.read_text())))


def is_running(pid: int) -> bool:
    """A zombie, which nobody has waited for, runs no more."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.05)
