"""The peer's side of commonsense_qa_vs_lm_eval: its own evaluator, from strings to accuracy."""

from __future__ import annotations

import json
from pathlib import Path

from lm_eval import simple_evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from timing import Clock, read_job, write_result

NAME = "questions"


def task(questions: list[dict[str, object]]) -> ConfigurableTask:
    """Multiple choice over rows that bring their whole prompt; nothing stands between it and an answer."""
    rows = Path("questions.jsonl")
    rows.write_text("".join(json.dumps(question) + "\n" for question in questions))
    config = {
        "task": NAME,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "context",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    return ConfigurableTask(config=config)


def main() -> None:
    job = read_job()
    model = HFLM(pretrained=job["base"], device="cpu", dtype="float32", batch_size=8)
    clock = Clock()
    clock.start()
    result = simple_evaluate(model, tasks=[task(job["questions"])], log_samples=True, bootstrap_iters=0)
    clock.stop()
    samples = sorted(result["samples"][NAME], key=lambda sample: sample["doc_id"])
    scores = [[response[0] for response in sample["filtered_resps"]] for sample in samples]
    accuracy = result["results"][NAME]["acc,none"]
    write_result(clock, ("torch", "transformers", "lm-eval"), scores=scores, accuracy=accuracy)


main()
