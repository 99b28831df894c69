"""Scoring labels behind a few-shot prompt on a CPU: our trees against lm-evaluation-harness.

CLINC150 with 20 labels, one answered row of each label in the prompt, as the `few_shot` method words it. A
question is decided by the likelihood of its 20 labels, so it is 20 requests of (context, answer); both
sides get the same token ids. Timed is the scoring alone. The gate: the same log-probabilities, within 1e-3.

    python benchmarks/few_shot_vs_lm_eval.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import Figures, Work, conclude, heading, load, peers_python, read_rows, rows_folder, show, work
from stepladder.core.data.wording import Wording
from stepladder.core.method import DataSchema, Prompt
from stepladder.core.model.base import Base, load_base
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base
from stepladder.core.model.tree import build_tree
from stepladder.core.types import Encoded, Example
from stepladder.plugins.methods.few_shot import spread
from stepladder.plugins.tasks.classify import Classify

GOAL = 60.0
SAME = 1e-3
SHOTS = 20
INSTRUCTION = "Which intent does the message have?"
Question = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is measured: our questions a round, and the peer's, which come anew in each round."""

    ours: int
    theirs: int
    rounds: int
    threads: int
    batch_sizes: tuple[int, ...]


def examples(split: str) -> list[Example]:
    rows = read_rows(rows_folder("clinc150_20") / f"{split}.jsonl")
    return [Example(f"{split}{number}", row["text"], row["intent"]) for number, row in enumerate(rows)]


def questions(base: Base, count: int) -> list[Question]:
    """Each question as the token ids of its context and of its answers."""
    train = examples("train")
    labels = tuple(sorted({example.expected for example in train}))
    schema = DataSchema(Classify(), INSTRUCTION, labels)
    wording = Wording(base.renderer, schema, Prompt("instruction", tuple(spread(train, SHOTS, seed=0))))
    asked = examples("test")[:count]
    encoded = iter(wording.answers([(example, label) for example in asked for label in labels]))
    return [_question([next(encoded) for _ in labels]) for _ in asked]


def _question(answered: Sequence[Encoded]) -> Question:
    start = answered[0].trained.index(True)
    assert all(row.trained.index(True) == start for row in answered), "all answers follow the same context"
    return {"context": answered[0].tokens[:start], "answers": [row.tokens[start:] for row in answered]}


def limits(base: Base, asked: Sequence[Question], gflops: float) -> tuple[float, float]:
    """Questions a second at the measured matrix-multiply rate: each request alone, each token once."""
    work_of, sequences = Work(base.model), _sequences(asked)
    tokens = sum(map(len, sequences))
    pairs = sum(len(s) * (len(s) + 1) // 2 for s in sequences)
    predicted = sum(len(answer) for question in asked for answer in question["answers"])
    tree = build_tree(sequences)
    # The head runs once behind each distinct beginning: the context, and every answer's tokens but its last.
    heads = len(asked) + len(tree) - len(build_tree([question["context"] for question in asked]))
    alone = work_of.forward(tokens, pairs, predicted)
    once = work_of.forward(len(tree), int((tree.positions + 1).sum()), heads)
    return len(asked) / (alone / (gflops * 1e9)), len(asked) / (once / (gflops * 1e9))


def _sequences(asked: Sequence[Question]) -> list[list[int]]:
    """What is read of each request: its last token is only predicted."""
    return [question["context"] + answer[:-1] for question in asked for answer in question["answers"]]


def measure(base: Base, asked: Sequence[Question], size: Size, folder: Path) -> dict[str, list[Any]]:
    """The results of all rounds, the sides taking turns."""
    results: dict[str, list[Any]] = {"ours": [], "lm-eval": []}
    python, shared = peers_python(), {"threads": size.threads}
    best: dict[str, Any] = {"try": size.batch_sizes}
    for number in range(size.rounds):
        ours = {**shared, "base": base.ref.name, "questions": asked}
        part = asked[number * size.theirs : (number + 1) * size.theirs]
        theirs = {**shared, **best, "base": base.ref.path, "questions": part}
        results["ours"].append(work(sys.executable, "ours/score_tree.py", ours, folder / f"ours-{number}"))
        results["lm-eval"].append(work(python, "peers/score_lm_eval.py", theirs, folder / f"peer-{number}"))
        best = {"try": (), "batch_size": results["lm-eval"][0]["batch_size"]}
        seconds = {side: _a_question(rounds[-1])["seconds"] for side, rounds in results.items()}
        print(
            f"round {number + 1}: ours {1 / seconds['ours']:.2f} questions/s, "
            f"lm-eval {1 / seconds['lm-eval']:.4f} (load {load():.1f})",
            flush=True,
        )
    return results


def largest_difference(results: Mapping[str, Any]) -> float:
    """Between the log-probabilities of the questions that both sides scored."""
    expected = torch.tensor([scores for result in results["lm-eval"] for scores in result["scores"]])
    found = torch.tensor(results["ours"][0]["scores"][: len(expected)])
    return float((expected - found).abs().max())


def line(side: str, own: Figures, peer: Figures) -> tuple[str, ...]:
    """`own` and `peer`: seconds a question."""
    return (
        side,
        f"{1 / own.seconds:.4g}",
        f"{1 / own.cpu_seconds:.4g}",
        f"{peer.seconds / own.seconds:.1f}",
        f"{peer.cpu_seconds / own.cpu_seconds:.1f}",
        f"{own.peak_gigabytes:.1f}",
    )


def report(base: Base, asked: Sequence[Question], results: Mapping[str, Any]) -> float:
    """Print the table; returns the ratio of questions a second."""
    figures = {
        side: Figures.of([_a_question(result) for result in rounds]) for side, rounds in results.items()
    }
    show(
        ("side", "questions/s", "questions/CPU s", "ratio", "CPU ratio", "peak GB"),
        [line(side, own, figures["lm-eval"]) for side, own in figures.items()],
    )
    gflops = max(result["matmul_gflops"] for result in results["ours"])
    alone, once = limits(base, asked, gflops)
    lengths = [len(sequence) for sequence in _sequences(asked)]
    peer = results["lm-eval"][0]
    tried = ", ".join(f"{size} {seconds:.1f} s" for size, seconds in peer["tried"].items())
    print(
        f"{len(asked)} questions of {len(asked[0]['answers'])} requests, {fmean(lengths):.0f} tokens each\n"
        f"lm-eval's batch size {peer['batch_size']}; one question by batch size: {tried}\n"
        f"matrix multiply {gflops:.0f} GFLOP/s, so at most {alone:.3f} questions/s with each request alone, "
        f"{once:.1f} with each token once"
    )
    return figures["lm-eval"].seconds / figures["ours"].seconds


def _a_question(result: Mapping[str, Any]) -> dict[str, float]:
    """A worker's times for one question."""
    count = len(result["scores"])
    times = {name: result[name] / count for name in ("seconds", "cpu_seconds")}
    return {**times, "peak_gigabytes": result["peak_gigabytes"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 questions, the peer one of them, one round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of either side")
    arguments = parser.parse_args()
    threads = arguments.threads
    size = Size(8, 1, 1, threads, (8,)) if arguments.quick else Size(60, 2, 3, threads, (1, 8))
    base = load_base(resolve_base(DEFAULT_BASE, Path()))
    asked = questions(base, size.ours)
    with tempfile.TemporaryDirectory() as temporary:
        results = measure(base, asked, size, Path(temporary))
    versions = {**results["ours"][0]["versions"], **results["lm-eval"][0]["versions"]}
    heading("Few-shot labels: Stepladder against lm-evaluation-harness", versions)
    ratio = report(base, asked, results)
    difference = largest_difference(results)
    print(f"largest difference of log-probabilities {difference:.1e}")
    conclude({"questions a second": ratio}, GOAL, difference <= SAME)


if __name__ == "__main__":
    main()
