"""Decoders that draw several answers, on a writer whose answers are known."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from stepladder.core.decoder import Attempt, Judge, Writer
from stepladder.core.types import Answer, Example, Sampling, Written
from stepladder.plugins.decoders.beam import Beam
from stepladder.plugins.decoders.best_of_n import BestOfN
from stepladder.plugins.decoders.majority_vote import MajorityVote

ROW = Example("a", "what ?", "")


class Known(Writer):
    """Writes what it was given, whoever asks."""

    max_new_tokens = 6

    def __init__(self, *answers: Written) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    def write(self, examples, sampling, count=1):
        self.asked.append((sampling, count))
        return [self.answers for _ in examples]


class Longest(Judge):
    """A longer text is better; one with an exclamation mark cannot be judged."""

    faults = None

    def scores(self, attempts):
        return [-float("inf") if "!" in each.text else float(len(each.text)) for each in attempts]


def best(answers: list[Written], scorer: Judge | None = None, **settings: Any) -> Answer:
    decoder = BestOfN(BestOfN.Settings(n=len(answers), **settings), scorer)
    (answer,) = decoder.decode(Known(*answers), [ROW])
    return answer


# 4 tokens at -1.0 each; 1 token at -2.0; 2 tokens at -1.5 each.
DRAWN = [Written("four", 4, -4.0), Written("one", 1, -2.0), Written("two", 2, -3.0)]


@pytest.mark.parametrize("by, text", [("likelihood", "one"), ("mean_likelihood", "four")])
def test_the_likeliest_of_n_is_taken_and_all_n_are_paid_for(by: str, text: str):
    assert best(DRAWN, by=by) == Answer(text, 7)


def test_a_scorer_decides_then_the_mean_likelihood_then_who_came_first():
    assert best(DRAWN, Longest(), by="longest") == Answer("four", 7)
    equal = [Written("aaa", 1, -2.0), Written("bbb", 2, -3.0), Written("ccc", 2, -3.0)]
    assert best(equal, Longest(), by="longest").text == "bbb"
    untold = [Written("aaa", 1), Written("bbb", 1)]
    assert best(untold, Longest(), by="longest").text == "aaa"


def test_what_cannot_be_judged_is_taken_last():
    assert best([Written("longest!", 3), Written("a", 1)], Longest(), by="longest").text == "a"
    assert best([Written("all!", 3), Written("bad!", 1)], Longest(), by="longest").text == "all!"


def test_n_answers_are_drawn_as_set():
    writer = Known(*DRAWN)
    BestOfN(BestOfN.Settings(n=3, temperature=1.2, top_k=7, top_p=0.8, seed=5)).decode(writer, [ROW])
    assert writer.asked == [(Sampling(1.2, 7, 0.8, 5), 3)]


@pytest.mark.parametrize(
    "decoder, asked",
    [
        (BestOfN, {"by": "likelihood"}),
        (BestOfN, {"by": "mean_likelihood"}),
        (MajorityVote, {"ties": "likelihood"}),
        (Beam, {"by": "json_schema"}),
    ],
)
def test_what_needs_likelihoods_asks_for_them(decoder, asked):
    assert "likelihood" in decoder.asks(decoder.Settings(**asked))


@pytest.mark.parametrize(
    "decoder, asked", [(BestOfN, {"by": {"regex": {"pattern": "a"}}}), (MajorityVote, {})]
)
def test_what_only_writes_asks_for_no_more(decoder, asked):
    assert decoder.asks(decoder.Settings(**asked)) == ("write",)


# --- votes ---


def vote(texts: list[str], **settings: Any) -> str:
    answers = [Written(text, 2, -float(place)) for place, text in enumerate(texts)]
    (answer,) = MajorityVote(MajorityVote.Settings(n=len(texts), **settings)).decode(Known(*answers), [ROW])
    assert answer.written_tokens == 2 * len(texts)
    return answer.text


@pytest.mark.parametrize(
    "texts, settings, elected",
    [
        (["red", "Blue", " blue "], {}, "Blue"),
        (["it is  blue", "red", "It is blue"], {}, "it is  blue"),
        (["red", "blue"], {}, "red"),
        (["2 and 3 make 5", "so 5.0", "I say 6"], {"answer": "last_number"}, "5"),
        (["1,200", "1200.0", "7"], {"answer": "last_number"}, "1200"),
        (["no idea", "none", "9"], {"answer": "last_number"}, "9"),
        (["no idea", "none"], {"answer": "last_number"}, "no idea"),
        (["A: x", "A: y", "so A: y!", "x x x"], {"answer": {"regex": "A: (\\w)"}}, "y"),
        (["", "", "blue"], {}, "blue"),
    ],
)
def test_what_most_answers_come_to_is_elected(texts, settings, elected):
    assert vote(texts, **settings) == elected


def test_a_tie_may_go_to_the_likelier():
    drawn = [
        Written("red", 2, -8.0),
        Written("blue", 2, -2.0),
        Written("Red", 2, -6.0),
        Written("blue", 1, -9),
    ]
    for ties, elected in (("first", "red"), ("likelihood", "blue")):
        decoder = MajorityVote(MajorityVote.Settings(n=4, ties=ties))
        assert decoder.decode(Known(*drawn), [ROW]) == [Answer(elected, 7)]


def test_a_pattern_that_backtracks_for_ever_has_no_vote():
    endless = {"answer": {"regex": "(a+)+$"}}
    assert vote(["a" * 40 + "b", "aa"], **endless) in ("a" * 40 + "b", "aa")


@pytest.mark.parametrize(
    "pattern, fault", [("a", "one group"), ("(a)(b)", "it has 2"), ("(", "expected a reg")]
)
def test_a_pattern_without_one_group_is_refused(pattern: str, fault: str):
    with pytest.raises(ValidationError, match=fault):
        MajorityVote.Settings(answer={"regex": pattern})


# --- beam ---


class Letters(Writer):
    """Goes on with a and b, one token each; b is likelier, and a text ends at the third letter."""

    def __init__(self, longest: int = 6) -> None:
        self.longest = longest
        self.begun: list[list[str]] = []

    @property
    def max_new_tokens(self) -> int:
        return self.longest

    def write(self, examples, sampling, count=1):
        raise AssertionError("a beam goes on from beginnings alone")

    def extend(self, examples, beginnings, sampling, count, most_tokens):
        self.begun.append([each.text for each in beginnings])
        assert most_tokens == 1
        return [
            [
                Written(
                    begun.text + letter,
                    begun.tokens + 1,
                    (begun.log_probability or 0.0) + value,
                    ended=len(begun.text) == 2,
                    ids=(*begun.ids, ord(letter)),
                )
                for letter, value in (("a", -2.0), ("b", -1.0), ("b", -1.0))[:count]
            ]
            for begun in beginnings
        ]


class Likes(Judge):
    """Counts a letter; keeps what it was asked."""

    faults = None

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.asked: list[Attempt] = []

    def scores(self, attempts):
        self.asked += attempts
        return [float(each.text.count(self.letter)) for each in attempts]


def beam(scorer: Judge, writer: Writer, **settings: Any) -> Answer:
    decoder = Beam(Beam.Settings(by="x", step_tokens=1, **settings), scorer)
    (answer,) = decoder.decode(writer, [ROW])
    return answer


def test_the_scorer_leads_the_search_and_likelihood_breaks_ties():
    writer = Letters()
    # 3 draws; then 2 beginnings in 3 ways each, twice.
    assert beam(Likes("a"), writer, width=2, expand=3) == Answer("aaa", 3 + 6 + 6)
    assert writer.begun == [[""], ["a", "b"], ["aa", "ab"]]
    assert beam(Likes("z"), Letters(), width=2, expand=3).text == "bbb"


def test_one_beginning_is_kept_where_the_width_is_one():
    writer = Letters()
    assert beam(Likes("b"), writer, width=1, expand=2) == Answer("bbb", 6)
    assert writer.begun == [[""], ["b"], ["bb"]]


def test_the_search_ends_at_the_limit_where_beginnings_are_answers():
    scorer = Likes("a")
    assert beam(scorer, Letters(longest=2), width=2, expand=2).text == "aa"
    assert [each.ended for each in scorer.asked] == [False] * 2 + [True] * 4


def test_a_half_written_character_is_not_judged():
    class Half(Letters):
        def extend(self, examples, beginnings, sampling, count, most_tokens):
            return [[Written("é\ufffd", 1, -1.0, ended=False, ids=(1,))] for _ in beginnings]

    scorer = Likes("a")
    assert beam(scorer, Half(longest=2), width=1, expand=1).text == "é\ufffd"
    assert [each.text for each in scorer.asked] == ["é", "é\ufffd"]
