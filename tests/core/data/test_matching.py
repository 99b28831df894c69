"""What was written, and the option that it means."""

from __future__ import annotations

import pytest
from stepladder.core.data.matching import match_option

INTENTS = ("card", "card_limit", "transfer", "exchange rate")


@pytest.mark.parametrize(
    "written, meant",
    [
        ("card", "card"),
        (" card_limit\n", "card_limit"),
        ("Card limit.", "card_limit"),
        ('"Exchange Rate"', "exchange rate"),
        ("card limit: they ask for more", "card_limit"),
        ("card: they ask for a transfer", "card"),
        ("exchange", "exchange rate"),
        ("The intent is card_limit", "card_limit"),
        ("The intent is: **transfer**!", "transfer"),
        ("transfers", None),
        ("either transfer or exchange rate", None),
        ("discard it", None),
        ("no idea", None),
        ("", None),
        ("...", None),
    ],
)
def test_the_one_option_that_is_meant(written: str, meant: str | None):
    assert match_option(written, INTENTS) == meant


def test_options_that_differ_in_marks_alone_are_told_apart_by_what_stands_there():
    assert match_option("C++", ("C", "C++")) == "C++"
    assert match_option("+", ("+", "-")) == "+"
    assert match_option("c ++", ("C", "C++")) is None, "it may be both"
    assert match_option("plus", ("+", "-")) is None


def test_a_beginning_that_several_options_share_is_none_of_them():
    assert match_option("new", ("new card", "new account")) is None
    assert match_option("NEW account please", ("new card", "new account")) == "new account"
