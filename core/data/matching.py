"""What was written in answer to a closed question, as the option that it means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

WORD = re.compile(r"[^\W_]+")
Fits = Callable[[str, str], bool]


def match_option(written: str, options: Sequence[str]) -> str | None:
    """The option that is meant by what was written; None where none is, or it may be several.

    It is the option itself; else, by the words of both without case and punctuation, the one that says the
    same, that the text begins with, that begins with the text, or that is the only one in it. Of two options
    of which one is within the other (`card`, `card limit`) the longer one is meant.
    """
    said = written.strip()
    if said in options:
        return said
    by_words = {option: _words(option) for option in options}
    text = _words(said)
    rules: tuple[Fits, ...] = (str.__eq__, _begins, lambda text, option: _begins(option, text), _holds)
    for fits in rules:
        found = [option for option, words in by_words.items() if words and text and fits(text, words)]
        if len(found) > 1:
            found = [option for option in found if not _within_another(option, found, by_words)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _words(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))


def _begins(text: str, beginning: str) -> bool:
    return f"{text} ".startswith(f"{beginning} ")


def _holds(text: str, part: str) -> bool:
    return f" {part} " in f" {text} "


def _within_another(option: str, found: Sequence[str], by_words: dict[str, str]) -> bool:
    words = by_words[option]
    return any(words != by_words[other] and _holds(by_words[other], words) for other in found)
