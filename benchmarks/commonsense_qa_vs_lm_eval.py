"""Multiple choice against lm-evaluation-harness: the same prompts, the same accuracy.

CommonsenseQA, each question decided by the likelihood of its five options, zero-shot and behind answered
rows, as a text to go on with (`cloze`) and as a chat turn (`instruction`). The peer runs its evaluator on
the prompts as strings, and tokenizes them itself. The gate: equal accuracies, and summed log-probabilities
of all options within 1e-3.

    STEPLADDER_TEST_DATA=... python benchmarks/commonsense_qa_vs_lm_eval.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import conclude_same, heading, peers_python, read_rows, rows_folder, show, work
from stepladder.core.data.wording import Wording
from stepladder.core.errors import RowFault
from stepladder.core.method import DataSchema, Prompt, Style
from stepladder.core.model.base import Base, load_base
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base
from stepladder.core.types import Encoded, Example
from stepladder.plugins.methods.few_shot import spread
from stepladder.plugins.tasks.choice import Choice

SHOTS = 4
SAME = 1e-3
STYLES: tuple[Style, ...] = ("cloze", "instruction")


@dataclass(frozen=True)
class Asked:
    """One question: as strings for the peer, as tokens for us; `right` is a place in `answers`."""

    context: str
    answers: list[str]
    encoded: list[Encoded]
    right: int


def examples(split: str) -> list[Example]:
    """Without the rows that name an option twice, which the task refuses."""
    task, read = Choice(), []
    for number, row in enumerate(read_rows(rows_folder("commonsense_qa") / f"{split}.jsonl")):
        fields = {"input": row["question"], "options": row["choices"], "answer": row["answerKey"]}
        with suppress(RowFault):
            read.append(task.example(str(number), fields))
    return read


def ask(base: Base, style: Style, shots: int, count: int) -> list[Asked]:
    shown = tuple(spread(examples("train"), shots, seed=0))
    wording = Wording(base.renderer, DataSchema(Choice(), "", ()), Prompt(style, shown))
    asked = examples("test")[:count]
    pairs = [(example, option) for example in asked for option in example.options]
    encoded = iter(wording.answers(pairs))
    return [
        _asked(base, [next(encoded) for _ in each.options], each.options.index(each.expected))
        for each in asked
    ]


def _asked(base: Base, rows: Sequence[Encoded], right: int) -> Asked:
    """The peer counts white space at a context's end to the answer, so for this both sides do."""
    tokenizer, start = base.renderer.tokenizer, rows[0].trained.index(True)
    if tokenizer.decode(rows[0].tokens[:start])[-1].isspace():
        start -= 1
    assert not tokenizer.decode(rows[0].tokens[:start])[-1].isspace(), "one token of white space at most"
    return Asked(
        tokenizer.decode(rows[0].tokens[:start]),
        [tokenizer.decode(row.tokens[start:]) for row in rows],
        [Encoded(row.tokens, [place >= start for place in range(len(row.tokens))]) for row in rows],
        right,
    )


def ours(base: Base, asked: Sequence[Asked]) -> list[list[float]]:
    """Summed log-probability of each option of each question."""
    sums = map(sum, base.engine.log_probabilities([row for each in asked for row in each.encoded]))
    return [[next(sums) for _ in each.encoded] for each in asked]


def theirs(base: Base, asked: Sequence[Asked], folder: Path) -> dict[str, Any]:
    questions = [{"context": each.context, "choices": each.answers, "gold": each.right} for each in asked]
    job = {"base": str(base.ref.path), "questions": questions, "threads": torch.get_num_threads()}
    return work(peers_python(), "peers/evaluate_lm_eval.py", job, folder)


def accuracy(scores: Sequence[Sequence[float]], asked: Sequence[Asked]) -> float:
    return fmean(max(range(len(s)), key=s.__getitem__) == a.right for s, a in zip(scores, asked, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 questions instead of 120")
    count = 10 if parser.parse_args().quick else 120
    base = load_base(resolve_base(DEFAULT_BASE, Path()))
    lines, same, versions = [], True, {}
    with tempfile.TemporaryDirectory() as temporary:
        for style in STYLES:
            for shots in (0, SHOTS):
                asked = ask(base, style, shots, count)
                mine, peer = ours(base, asked), theirs(base, asked, Path(temporary) / f"{style}{shots}")
                versions = peer["versions"]
                far = max(
                    abs(a - b)
                    for s, t in zip(mine, peer["scores"], strict=True)
                    for a, b in zip(s, t, strict=True)
                )
                found = accuracy(mine, asked)
                same = same and far <= SAME and found == peer["accuracy"]
                lines.append((style, str(shots), f"{found:.4f}", f"{peer['accuracy']:.4f}", f"{far:.1e}"))
                print(*lines[-1], flush=True)
    heading(f"CommonsenseQA, {count} questions: Stepladder against lm-evaluation-harness", versions)
    show(
        ("style", "shots", "accuracy", "lm-eval's accuracy", "largest difference of log-probabilities"), lines
    )
    sys.exit(conclude_same(same))


if __name__ == "__main__":
    main()
