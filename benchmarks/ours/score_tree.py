"""Our side of few_shot_vs_lm_eval: every answer of every question through the engine's trees."""

from __future__ import annotations

from pathlib import Path

from stepladder.core.model.base import load_base
from stepladder.core.model.locate import resolve_base
from stepladder.core.types import Encoded
from timing import Clock, matmul_rate, read_job, write_result


def main() -> None:
    job = read_job()
    base = load_base(resolve_base(job["base"], Path()))
    questions = job["questions"]
    rows = [
        Encoded(question["context"] + answer, [False] * len(question["context"]) + [True] * len(answer))
        for question in questions
        for answer in question["answers"]
    ]
    base.engine.log_probabilities(rows[:1])
    clock = Clock()
    clock.start()
    values = base.engine.log_probabilities(rows)
    clock.stop()
    sums = iter([sum(row) for row in values])
    scores = [[next(sums) for _ in question["answers"]] for question in questions]
    write_result(clock, ("torch", "transformers"), scores=scores, matmul_gflops=matmul_rate())


main()
