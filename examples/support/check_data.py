"""Check the support example data: overlap, difficulty, leaks and retention length.

Run from anywhere: ``python examples/support/check_data.py``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

FOLDER = Path(__file__).resolve().parent
RUN_LENGTH = 6
MAX_BASELINE_ACCURACY = 0.85
MIN_TRAIN_ROWS, MIN_TEST_ROWS = 490, 245
MIN_RETAIN_ROWS, MIN_RETAIN_WORDS = 40, 5000
INTENT_COUNT = 12

Row = dict[str, str]


def read_rows(name: str) -> list[Row]:
    """Read one JSON object per line from a file next to this script."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def words(text: str) -> list[str]:
    """Split a text into lower-cased words."""
    return re.findall(r"[a-z0-9']+", text.lower())


def word_runs(text: str) -> set[tuple[str, ...]]:
    """Return every run of RUN_LENGTH consecutive words in a text."""
    tokens = words(text)
    return {tuple(tokens[i : i + RUN_LENGTH]) for i in range(len(tokens) - RUN_LENGTH + 1)}


def shared_runs(rows: list[Row]) -> list[str]:
    """Return the word runs that occur in more than one message."""
    counts = Counter(run for row in rows for run in word_runs(row["text"]))
    return [" ".join(run) for run, count in counts.items() if count > 1]


def check_overlap(rows: list[Row]) -> None:
    """No two messages share RUN_LENGTH consecutive words."""
    found = shared_runs(rows)
    assert not found, f"shared runs of {RUN_LENGTH} words: {found}"
    print(f"shared runs of {RUN_LENGTH} words: 0 in {len(rows)} messages")


def check_rows(train: list[Row], test: list[Row]) -> None:
    """Both splits are large enough and balanced, with no empty or repeated text."""
    assert len(train) >= MIN_TRAIN_ROWS, f"only {len(train)} training rows"
    assert len(test) >= MIN_TEST_ROWS, f"only {len(test)} test rows"
    for name, rows in (("train", train), ("test", test)):
        per_intent = Counter(row["intent"] for row in rows)
        assert len(per_intent) == INTENT_COUNT, f"{name}: {sorted(per_intent)}"
        assert len(set(per_intent.values())) == 1, f"{name}: {per_intent}"
        print(f"{name}: {len(rows)} rows, {len(rows) // INTENT_COUNT} per intent")
    texts = [" ".join(words(row["text"])) for row in train + test]
    assert all(texts), "a message has no words"
    assert len(set(texts)) == len(texts), "a message occurs twice"


def baselines() -> Iterator[tuple[str, Pipeline]]:
    """Yield each named bag-of-words classifier, unfitted."""
    vectorizers = (CountVectorizer, TfidfVectorizer)
    for vectorizer, ngrams in product(vectorizers, ((1, 1), (1, 2))):
        models = {
            "LogisticRegression C=1": LogisticRegression(C=1, max_iter=2000),
            "LogisticRegression C=10": LogisticRegression(C=10, max_iter=2000),
            "LinearSVC": LinearSVC(random_state=0),
            "MultinomialNB": MultinomialNB(),
        }
        for name, model in models.items():
            label = f"{vectorizer.__name__} {ngrams} + {name}"
            yield label, make_pipeline(vectorizer(ngram_range=ngrams), model)


def check_baselines(train: list[Row], test: list[Row]) -> None:
    """No bag-of-words classifier solves the test split."""
    train_texts, train_intents = columns(train)
    test_texts, test_intents = columns(test)
    for name, model in baselines():
        accuracy = model.fit(train_texts, train_intents).score(test_texts, test_intents)
        print(f"{name}: {accuracy:.3f}")
        assert accuracy < MAX_BASELINE_ACCURACY, f"{name} is too accurate"


def columns(rows: list[Row]) -> tuple[list[str], list[str]]:
    """Return the texts and the intents of some rows."""
    return [row["text"] for row in rows], [row["intent"] for row in rows]


def check_retain(rows: list[Row]) -> None:
    """The retention text is long enough and has no empty or repeated row."""
    texts = [row["text"] for row in rows]
    count = sum(len(text.split()) for text in texts)
    assert all(text.strip() for text in texts), "an empty retention row"
    assert len(set(texts)) == len(texts), "a retention row occurs twice"
    assert len(rows) >= MIN_RETAIN_ROWS, f"only {len(rows)} retention rows"
    assert count >= MIN_RETAIN_WORDS, f"only {count} retention words"
    print(f"retain: {len(rows)} rows, {count} words")


def main() -> None:
    """Run every check and print the figures."""
    train, test = read_rows("train.jsonl"), read_rows("test.jsonl")
    check_rows(train, test)
    check_overlap(train + test)
    check_baselines(train, test)
    check_retain(read_rows("retain.jsonl"))


if __name__ == "__main__":
    main()
