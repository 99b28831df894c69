"""Our side of prompt_search_vs_dspy: the method's own fit, then the test rows by the prompt that it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepladder.core.method import Data
from stepladder.core.model.base import load_base
from stepladder.core.model.locate import resolve_base
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example, Prediction, Sampling, Written
from stepladder.plugins.decoders.greedy import Greedy
from stepladder.plugins.methods import prompt_search
from stepladder.plugins.methods.prompt_search import PromptSearch, SearchedPrompt
from stepladder.plugins.metrics.accuracy import Accuracy
from stepladder.plugins.tasks.classify import Classify
from timing import Clock, read_job, write_result

ASKED: list[int] = []


class Counted(SearchedPrompt):
    """Counts the questions that are put to the base, each once for all its labels."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        ASKED.append(len(examples))
        return super().predict(examples)

    def predict_calibrated(self, examples: Sequence[Example]) -> list[Prediction]:
        ASKED.append(len(examples))
        return super().predict_calibrated(examples)

    def write(self, examples: Sequence[Example], sampling: Sampling, count: int = 1) -> list[list[Written]]:
        ASKED.append(len(examples))
        return super().write(examples, sampling, count)


class Rows:
    """A split of which nothing but its examples is asked."""

    def __init__(self, rows: Sequence[Any], kind: str) -> None:
        self.rows = [Example(f"{kind}-{at}", text, label) for at, (text, label) in enumerate(rows)]

    def __len__(self) -> int:
        return len(self.rows)

    def examples(self) -> list[Example]:
        return list(self.rows)


def main() -> None:
    job = read_job()
    base = load_base(resolve_base(job["base"], Path()))
    train, validation, test = (Rows(job[kind], kind) for kind in ("train", "validation", "test"))
    task, metric = Classify(), Accuracy()
    data: Any = Data(task, job["instruction"], tuple(job["labels"]), train, validation, metric)
    method = PromptSearch(PromptSearch.Settings(**job["settings"]), Greedy(Greedy.Settings()))
    prompt_search.SearchedPrompt = Counted  # type: ignore[misc]
    clock = Clock()
    clock.start()
    adapted = method.fit(base, data, FitContext(Path()))
    clock.stop()
    calls = sum(ASKED)
    said = adapted.predict(test.examples())
    right = [answer.predicted == row.expected for answer, row in zip(said, test.rows, strict=True)]
    found = adapted.searched
    assert found is not None, "the search says what it tried"
    about = {"right": right, "calls": calls, "searched": found.value, "tried": found.trials}
    write_result(clock, ("torch", "transformers", "optuna"), **about)


main()
