"""Asks a scorer that runs in a process of its own, and outlives whatever the scorer does.

One process is used for all answers, and another one started when it had to be killed or has died. An answer
that cannot be judged scores -inf and is counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..decoder import Attempt, Judge, Scorer, ScorerSettings
from ..errors import StepError

WORKER = "stepladder.core.scoring.worker"
START_SECONDS = 60.0
LOWEST = -float("inf")
RAISED, TIMED_OUT, DIED = "raised", "timed_out", "died"


class ProcessJudge(Judge):
    """A scorer behind a process, which starts with the first answer."""

    def __init__(self, kind: type[Scorer], settings: ScorerSettings) -> None:
        self.kind = kind
        self.settings = settings
        self._counts: Counter[str] = Counter({RAISED: 0, TIMED_OUT: 0, DIED: 0})
        self._worker: _Worker | None = None

    @property
    def faults(self) -> Mapping[str, int]:
        return dict(self._counts)

    def scores(self, attempts: Sequence[Attempt]) -> list[float]:
        """Raises StepError where the scorer cannot even be started."""
        known: dict[Attempt, float] = {}
        for attempt in attempts:
            if attempt not in known:
                known[attempt] = self._score(attempt)
        return [known[attempt] for attempt in attempts]

    def _score(self, attempt: Attempt) -> float:
        worker = self._worker = self._worker or _Worker(self.kind, self.settings)
        try:
            said = worker.ask(_as_json(attempt), self.settings.seconds)
        except TimeoutError:
            return self._lost(TIMED_OUT)
        except EOFError:
            return self._lost(DIED)
        if "fault" in said:
            self._counts[RAISED] += 1
            return LOWEST
        return float(said["score"])

    def _lost(self, why: str) -> float:
        """Count an answer that took the process with it; the next one gets a new process."""
        assert self._worker is not None, "it was asked"
        self._worker.end()
        self._worker = None
        self._counts[why] += 1
        return LOWEST


class _Worker:
    """One process with a scorer in it."""

    def __init__(self, kind: type[Scorer], settings: ScorerSettings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._rest = b""
        self.end = weakref.finalize(self, _end, self._process)
        given = settings.model_dump(mode="json", by_alias=True)
        about = {"module": kind.__module__, "qualname": kind.__qualname__, "settings": given}
        try:
            said = self.ask(about, START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self.end()
            raise StepError(f"scorer {kind.name!r}: its process did not start ({error!r})") from error
        if "fault" in said:
            self.end()
            raise StepError(f"scorer {kind.name!r} cannot be made: {said['fault']}")

    def ask(self, question: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Raises TimeoutError, and EOFError where the process has died."""
        assert self._process.stdin is not None, "a pipe"
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise EOFError("the process has died") from error
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds))
        return answer

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None, "a pipe"
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError("no answer in time")
                read = os.read(self._process.stdout.fileno(), 1 << 16)
                if not read:
                    raise EOFError("the process has died")
                self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):  # what was not sent to a dead process
                stream.close()


def _as_json(attempt: Attempt) -> dict[str, Any]:
    """Without the expected answer, which nobody has who serves."""
    example = attempt.example
    turns = [{"role": turn.role, "content": turn.content} for turn in example.messages[:-1]]
    about = {"id": example.id, "input": example.input, "messages": turns, "options": example.options}
    return {"example": about, "text": attempt.text, "ended": attempt.ended}
