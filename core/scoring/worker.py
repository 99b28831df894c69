"""The process in which a scorer runs; started by `judge.py`, and ended by it.

It reads and writes lines of JSON. The first line names the scorer's class and its settings and is answered
by {"ready": true} or {"fault": …}; each further line is an answer to judge: {"score": …} or {"fault": …}.
Whatever the scorer prints goes to the standard error.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import sys
from collections.abc import Mapping
from typing import IO, Any

from ..decoder import Scorer
from ..types import Example, Message

MOST_TEXT = 200


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Should the judge itself be gone, nobody is there to end a scorer that hangs: then the alarm does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    scorer: Scorer | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if scorer is None:
                scorer = _build(asked)
                _answer(answers, {"ready": True})
            else:
                signal.alarm(math.ceil(scorer.settings.seconds) + 1)
                _answer(answers, {"score": _score(scorer, asked)})
                signal.alarm(0)
        except Exception as error:
            signal.alarm(0)
            _answer(answers, {"fault": f"{type(error).__name__}: {error}"[:MOST_TEXT]})


def _build(asked: Mapping[str, Any]) -> Scorer:
    kind: Any = importlib.import_module(asked["module"])
    for name in asked["qualname"].split("."):
        kind = getattr(kind, name)
    scorer: Scorer = kind(kind.Settings(**asked["settings"]))
    return scorer


def _score(scorer: Scorer, asked: Mapping[str, Any]) -> float:
    about = asked["example"]
    messages = tuple(Message(**message) for message in about["messages"])
    example = Example(about["id"], about["input"], "", messages, tuple(about["options"]))
    score = float(scorer.score(example, asked["text"], asked["ended"]))
    if math.isnan(score):
        raise ValueError("the score is not a number")
    return score


def _answer(answers: IO[str], said: Mapping[str, Any]) -> None:
    answers.write(json.dumps(said) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
