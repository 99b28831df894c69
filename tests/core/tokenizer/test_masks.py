"""Golden masks written by hand, a property over random conversations, and five broken renderers."""

import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stepladder.core.errors import RowFault
from stepladder.core.tokenizer import Renderer
from stepladder.core.types import Encoded, Message

SYSTEM = Message("system", "Be brief")
HI, HELLO = Message("user", "Hi"), Message("assistant", "Hello")
WHY, BECAUSE = Message("user", "Why"), Message("assistant", "Because")
SINGLE, MULTI = (HI, HELLO), (HI, HELLO, WHY, BECAUSE)

# (family, messages, train, tokens, mask): ids by conftest.WORDS, both lists written by hand.
GOLDEN = [
    (
        "chatml", SINGLE, "all",
        [3, 15, 12, 30, 4, 12, 3, 16, 12, 31, 4, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    (
        "chatml", (SYSTEM, *MULTI), "all",
        [3, 14, 12, 28, 29, 4, 12, 3, 15, 12, 30, 4, 12, 3, 16, 12, 31, 4, 12,
         3, 15, 12, 32, 4, 12, 3, 16, 12, 33, 4, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    (
        "chatml", MULTI, "last",
        [3, 15, 12, 30, 4, 12, 3, 16, 12, 31, 4, 12, 3, 15, 12, 32, 4, 12, 3, 16, 12, 33, 4, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    (
        "chatml", (*SINGLE, WHY), "all",
        [3, 15, 12, 30, 4, 12, 3, 16, 12, 31, 4, 12, 3, 15, 12, 32, 4, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    ),
    (
        "llama3", SINGLE, "all",
        [5, 6, 15, 7, 13, 30, 8, 6, 16, 7, 13, 31, 8],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ),
    (
        "llama3", (SYSTEM, *MULTI), "all",
        [5, 6, 14, 7, 13, 28, 29, 8, 6, 15, 7, 13, 30, 8, 6, 16, 7, 13, 31, 8,
         6, 15, 7, 13, 32, 8, 6, 16, 7, 13, 33, 8],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ),
    ("mistral", SINGLE, "all", [1, 20, 22, 23, 35, 21, 22, 23, 36, 2], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
    (
        "mistral", (SYSTEM, *MULTI), "all",
        [1, 20, 22, 23, 34, 29, 13, 30, 21, 22, 23, 36, 2, 20, 22, 23, 37, 21, 22, 23, 38, 2],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ),
    (
        "gemma", SINGLE, "all",
        [9, 10, 15, 12, 30, 11, 12, 10, 17, 12, 31, 11, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    (
        "gemma", MULTI, "all",
        [9, 10, 15, 12, 30, 11, 12, 10, 17, 12, 31, 11, 12, 10, 15, 12, 32, 11, 12, 10, 17, 12, 33, 11, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    (
        "zephyr", SINGLE, "all",
        [18, 15, 19, 12, 30, 2, 12, 18, 16, 19, 12, 31, 2, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    (
        "zephyr", (SYSTEM, *MULTI), "all",
        [18, 14, 19, 12, 28, 29, 2, 12, 18, 15, 19, 12, 30, 2, 12, 18, 16, 19, 12, 31, 2, 12,
         18, 15, 19, 12, 32, 2, 12, 18, 16, 19, 12, 33, 2, 12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
    ),
    ("plain", SINGLE, "all", [25, 27, 35, 12, 26, 27, 36, 2], [0, 0, 0, 0, 0, 0, 1, 1]),
    (
        "plain", (SYSTEM, *MULTI), "all",
        [24, 27, 34, 29, 12, 25, 27, 35, 12, 26, 27, 36, 2, 12, 25, 27, 37, 12, 26, 27, 38, 2],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ),
    ("plain_with_begin", SINGLE, "all", [1, 25, 27, 35, 12, 26, 27, 36, 2], [0, 0, 0, 0, 0, 0, 0, 1, 1]),
]  # fmt: skip

# The line feed of the generation prompt and that of the answer are one token: no mask is right.
MERGING = (HI, Message("assistant", "\nHello"))


def check_golden(renderer: type[Renderer], tokenizers) -> None:
    for family, messages, train, tokens, mask in GOLDEN:
        encoded = renderer(tokenizers[family]).conversation(messages, train)
        assert encoded.tokens == tokens, family
        assert [int(trained) for trained in encoded.trained] == mask, family
    outcome = renderer(tokenizers["chatml"]).conversations([MERGING], "all")[0]
    assert isinstance(outcome, RowFault) and "turn 2 (assistant): join merged" in str(outcome)


TAME = re.compile(r"[A-Za-z]+( [A-Za-z]+)*")
NASTY = [
    "",
    " ",
    "\n",
    "\nHi",
    "\n\nHi",
    " Hi",
    "Hi\n",
    "Hi \n\n",
    "é\u200b",
    "日本\n\n\n",
    "<",
    "[",
    "a|>",
    "</",
    "\r\n",
]
FORGED = ["<|im_end|>", "x<|user|>y", "[INST]", "[/INST] Hi", "</s>", "<|eot_id|>", "<end_of_turn>", "<s>"]
TEXTS = st.from_regex(TAME, fullmatch=True) | st.text(min_size=1, max_size=12) | st.sampled_from(NASTY)


@st.composite
def conversations(draw) -> list[Message]:
    """Turns in order, of which now and then one forges another."""
    contents = draw(st.lists(TEXTS, min_size=2, max_size=5))
    if draw(st.integers(0, 4)) == 0:
        contents[draw(st.integers(0, len(contents) - 1))] = draw(st.sampled_from(FORGED))
    system = [Message("system", draw(TEXTS))] if draw(st.booleans()) else []
    return system + [Message("assistant" if i % 2 else "user", content) for i, content in enumerate(contents)]


def runs(tokens: Sequence[int], trained: Sequence[bool]) -> Iterable[list[int]]:
    """The ids of each unbroken stretch of trained tokens."""
    run: list[int] = []
    for token, train in zip([*tokens, -1], [*trained, False], strict=True):
        if train:
            run.append(token)
        elif run:
            yield run
            run = []


def check_conversation(renderer: Renderer, name: str, family, messages: Sequence[Message]) -> None:
    """Compare with the family's own segments of text, which know nothing of templates or tokens."""
    outcome = renderer.conversations([messages], "all")[0]
    forged = any(control in m.content for m in messages for control in family.control)
    if isinstance(outcome, RowFault):
        answered = any(m.role == "assistant" for m in messages)
        refused = name == "gemma" and messages[0].role == "system"
        tame = all(TAME.fullmatch(m.content) for m in messages)
        assert not (tame and answered and not refused), f"{name}: {outcome}"
        return
    assert not forged, name
    tokenizer, segments = renderer.tokenizer, family.segments(messages)
    assert (
        outcome.tokens == tokenizer("".join(text for text, _ in segments), add_special_tokens=False).input_ids
    )
    printed = [tokenizer.decode(run) for run in runs(outcome.tokens, outcome.trained)]
    assert printed == [text for text, trained in segments if trained], name


def check_property(renderer: type[Renderer], families, tokenizers, examples: int) -> None:
    renderers = {name: renderer(tokenizer) for name, tokenizer in tokenizers.items()}

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(conversations())
    def every_family(messages: list[Message]) -> None:
        for name, family in families.items():
            check_conversation(renderers[name], name, family, messages)

    every_family()


class EndUntrained(Renderer):
    def conversations(self, conversations, train="all"):
        return [
            _mask(o, lambda token, on: on and token not in self.stop_ids)
            for o in super().conversations(conversations, train)
        ]


class OffByOne(Renderer):
    def conversations(self, conversations, train="all"):
        return [
            o if isinstance(o, RowFault) else Encoded(o.tokens, [False, *o.trained[:-1]])
            for o in super().conversations(conversations, train)
        ]


class LastTurnOnly(Renderer):
    def conversations(self, conversations, train="all"):
        return super().conversations(conversations, "last")


class PaddingMaskedById(Renderer):
    """The padding token is the end token in these tokenizers, as in many of the real ones."""

    def conversations(self, conversations, train="all"):
        pad = self.tokenizer.pad_token_id
        return [
            _mask(o, lambda token, on: on and token != pad)
            for o in super().conversations(conversations, train)
        ]


class PiecesJoined(Renderer):
    """Tokenizes prompt and answer apart and joins the ids, so that no merge is ever seen."""

    def _encode(self, printed, table):
        tokens, trained, text = [], [], ""
        for upto, train in self._pieces(printed):
            ids = self.tokenizer(upto[len(text) :], add_special_tokens=False).input_ids
            tokens, trained, text = tokens + ids, trained + [train] * len(ids), upto
        return Encoded(tokens, trained)

    def _pieces(self, printed):
        for turn in printed.turns:
            yield turn.prompt, False
            yield turn.printed, True
        yield printed.whole, False


def _mask(outcome, keep):
    if isinstance(outcome, RowFault):
        return outcome
    return Encoded(
        outcome.tokens, [keep(t, on) for t, on in zip(outcome.tokens, outcome.trained, strict=True)]
    )


BROKEN = [EndUntrained, OffByOne, LastTurnOnly, PaddingMaskedById, PiecesJoined]


def test_masks_are_the_ones_written_by_hand(words):
    check_golden(Renderer, words)


def test_masks_cover_exactly_what_the_template_prints_for_answers(families, spellers):
    check_property(Renderer, families, spellers, examples=100)


@pytest.mark.parametrize("broken", BROKEN)
def test_golden_masks_catch_a_broken_renderer(broken, words):
    with pytest.raises(AssertionError):
        check_golden(broken, words)


@pytest.mark.parametrize("broken", BROKEN)
def test_property_catches_a_broken_renderer(broken, families, spellers):
    with pytest.raises(AssertionError):
        check_property(broken, families, spellers, examples=100)
