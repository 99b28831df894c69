"""BLEU, chrF and ROUGE-L against the libraries that define them."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from stepladder.core.evaluation.intervals import measure
from stepladder.core.types import Record
from stepladder.plugins.metrics.bleu import Bleu
from stepladder.plugins.metrics.chrf import ChrF
from stepladder.plugins.metrics.rouge_l import RougeL, common_length

WORDS = ["The", "the", "cat", "sat,", "on", "mat.", "a", "don't", "3.5", "naïve", "café", "猫", "re-do"]
EMPTY = [("", "the cat"), ("the cat", ""), ("", ""), (" \n", "cat"), (".", "...")]
SHORT = [("cat", "cat"), ("the cat", "the cat"), ("a", "b"), ("猫が座る", "猫が立つ")]


def record(predicted: str, expected: str) -> Record:
    return Record(id=f"{predicted}|{expected}", input="", expected=expected, predicted=predicted)


def said(rows: int, seed: int) -> list[Record]:
    """Answers that share some of their words, in part in the same order."""
    source = random.Random(seed)
    made = []
    for _ in range(rows):
        expected = source.choices(WORDS, k=source.randint(1, 25))
        predicted = [word for word in expected if source.random() < 0.7] + source.choices(WORDS, k=3)
        made.append(record(" ".join(predicted), " ".join(expected)))
    return made


def of_pairs(pairs: list[tuple[str, str]]) -> list[Record]:
    return [record(*pair) for pair in pairs]


def corpus_score(library, records: list[Record]) -> float:
    return library.corpus_score([row.predicted for row in records], [[row.expected for row in records]]).score


CORPORA = [
    *([pytest.param(said(rows, seed), id=f"{rows} rows") for seed, rows in enumerate((1, 2, 40))]),
    *([pytest.param(of_pairs([pair]), id=repr(pair)) for pair in (*EMPTY, *SHORT)]),
    pytest.param(of_pairs([*EMPTY, *SHORT]) + said(5, 9), id="edges among others"),
    pytest.param(of_pairs([("the same", "the same answer to all"), ("the same", "cat")]), id="constant"),
]


@pytest.mark.parametrize("records", CORPORA)
@pytest.mark.parametrize("metric, library", [(Bleu(), BLEU), (ChrF(), CHRF)], ids=["bleu", "chrf"])
def test_figures_equal_sacrebleu(metric, library, records):
    assert metric.value(records) == corpus_score(library(), records)
    once = np.ones((1, len(records)))
    assert metric.resampled(records, once) == pytest.approx([corpus_score(library(), records)], abs=1e-12)


@pytest.mark.parametrize("metric", [Bleu(), ChrF()], ids=["bleu", "chrf"])
def test_many_resamples_at_once_equal_one_by_one(metric):
    records = said(12, seed=3) + of_pairs(EMPTY)
    counts = np.random.default_rng(0).multinomial(len(records), np.full(len(records), 1 / 17), size=20)
    one_by_one = [
        metric.value([row for row, times in zip(records, drawn, strict=True) for _ in range(times)])
        for drawn in counts
    ]
    assert metric.resampled(records, counts.astype(float)) == pytest.approx(one_by_one, abs=1e-12)


def test_an_interval_runs_to_100():
    interval = measure(ChrF(), said(30, seed=4))
    assert 20 < interval.low < interval.value < interval.high < 100


ROWS = [*said(40, seed=5), *of_pairs([*EMPTY, *SHORT])]


@pytest.mark.parametrize("row", ROWS, ids=[f"{place}" for place in range(len(ROWS))])
def test_rouge_l_of_a_row_equals_rouge_score(row):
    oracle = RougeScorer(["rougeL"]).score(row.expected, row.predicted)["rougeL"].fmeasure
    assert RougeL().row(row) == pytest.approx(oracle, abs=1e-15)


def test_rouge_l_is_the_mean_of_its_rows():
    assert RougeL().value(of_pairs([("the cat sat", "the cat"), ("dog", "cat")])) == pytest.approx(0.8 / 2)


def test_the_longest_common_subsequence_of_all_short_words():
    def by_definition(first: str, second: str) -> int:
        picks = (
            "".join(pick) for size in range(len(first) + 1) for pick in itertools.combinations(first, size)
        )
        return max(len(pick) for pick in picks if is_within(pick, second))

    def is_within(pick: str, text: str) -> bool:
        letters = iter(text)
        return all(letter in letters for letter in pick)

    words = ["".join(word) for size in range(1, 5) for word in itertools.product("ab", repeat=size)]
    for first, second in itertools.product(words, words):
        assert common_length(first, second) == by_definition(first, second), (first, second)
