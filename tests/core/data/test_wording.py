"""Rows that came as conversations: where the instruction and the demonstrations go."""

import pytest
from stepladder.core.data.wording import Wording
from stepladder.core.method import DataSchema, Prompt
from stepladder.core.tokenizer import Renderer
from stepladder.core.types import Example, Message
from stepladder.plugins.tasks.generate import Generate


def turns(*contents, system=None):
    opening = (Message("system", system),) if system else ()
    spoken = (Message("assistant" if at % 2 else "user", said) for at, said in enumerate(contents))
    return (*opening, *spoken)


def row(*contents, system=None):
    messages = turns(*contents, system=system)
    return Example(contents[0], "as text", contents[-1], messages)


@pytest.fixture
def word(word_tokenizer):
    renderer = Renderer(word_tokenizer)

    def make(instruction="", *demonstrations):
        return Wording(
            renderer, DataSchema(Generate(), instruction, ()), Prompt(demonstrations=demonstrations)
        )

    return make


ASKED = row("the sky", "blue", "the sea", "green", system="your house")


def test_a_conversation_alone_stays_as_it_is(word):
    assert word().turns(ASKED) == turns("the sky", "blue", "the sea", system="your house")


def test_the_instruction_opens_what_the_system_says(word):
    assert word("which colour").turns(ASKED)[0] == Message("system", "which colour\n\nyour house")
    assert word("which colour").turns(row("the sky", "blue")) == turns("the sky", system="which colour")


def test_demonstrations_are_earlier_turns_without_their_own_system(word):
    shown = row("the door", "red", "today", "red", system="my car")
    pair = Example("pair", "the paint", "dull")
    expected = ("the door", "red", "today", "red", "the paint", "dull", "the sky", "blue", "the sea")
    assert word("", shown, pair).turns(ASKED) == turns(*expected, system="your house")


def test_what_is_trained_is_what_is_asked_and_every_answer(word, word_tokenizer):
    wording = word("which colour")
    (encoded,) = wording.encode([ASKED])
    (prompt,) = wording.prompts([ASKED])
    assert encoded.tokens[: len(prompt)] == prompt
    trained = [token for token, mask in zip(encoded.tokens, encoded.trained, strict=True) if mask]
    assert word_tokenizer.decode(trained).split("<|im_end|>\n") == ["blue", "green", ""]


def test_a_prompts_own_instruction_stands_in_the_place_of_the_datas(word_tokenizer):
    schema = DataSchema(Generate(), "which colour", ())
    own, none = (
        Wording(Renderer(word_tokenizer), schema, Prompt(instruction=said)) for said in ("a door", "")
    )
    asked = Example("asked", "the sky", "blue")
    assert own.turns(asked) == turns("a door\n\nthe sky")
    assert none.turns(asked) == turns("the sky")
    assert own.turns(ASKED)[0] == Message("system", "a door\n\nyour house")
