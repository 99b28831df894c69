"""The peer's side of few_shot_vs_lm_eval: the Hugging Face model of lm-evaluation-harness on our token ids.

`_loglikelihood_tokens` is what its `loglikelihood` calls once the strings are tokens. `auto` is no batch
size for a CPU: it begins with 64 sequences of full length, whose logits alone need more memory than there is.
"""

from __future__ import annotations

from typing import Any

from lm_eval.models.huggingface import HFLM
from timing import Clock, read_job, write_result


def score(model: HFLM, questions: list[dict[str, Any]], batch_size: int) -> tuple[list[list[float]], Clock]:
    """Summed log-probability of each answer of each question."""
    requests = [
        (("", ""), question["context"], answer) for question in questions for answer in question["answers"]
    ]
    model.batch_size_per_gpu = batch_size
    clock = Clock()
    clock.start()
    values = iter(model._loglikelihood_tokens(requests, disable_tqdm=True))
    clock.stop()
    return [[next(values)[0] for _ in question["answers"]] for question in questions], clock


def main() -> None:
    job = read_job()
    model = HFLM(pretrained=job["base"], device="cpu", dtype="float32")
    first = job["questions"][0]
    score(model, [{**first, "answers": first["answers"][:1]}], 1)
    tried = {size: score(model, job["questions"][:1], size)[1].seconds for size in job["try"]}
    best = min(tried, key=lambda size: tried[size]) if tried else job["batch_size"]
    scores, clock = score(model, job["questions"], best)
    write_result(clock, ("torch", "transformers", "lm-eval"), scores=scores, batch_size=best, tried=tried)


main()
