"""From an example to the tokens that a model reads: the one path, for training, scoring and writing alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import DataError, RowFault
from ..method import DataSchema, Prompt
from ..tokenizer import Reader, Renderer
from ..types import Encoded, Example, Message
from .fields import paragraphs

CONTENT_FREE = "content-free:"
# The places among a prompt's demonstrations of so many that are nearest to a text, in the order to show them.
Nearest = Callable[[str, int], Sequence[int]]


class Wording:
    """Words examples by a prompt, for one tokenizer."""

    def __init__(
        self, renderer: Renderer, schema: DataSchema, prompt: Prompt, nearest: Nearest | None = None
    ) -> None:
        self.renderer = renderer
        self.schema = schema
        self.prompt = prompt
        self.nearest = nearest

    @property
    def instruction(self) -> str:
        own = self.prompt.instruction
        return self.schema.instruction if own is None else own

    def encode(self, examples: Sequence[Example]) -> list[Encoded | RowFault]:
        """Each example with its expected answer; only what it is to be trained on is marked.

        Rows that came as conversations train every assistant turn, worded rows their answer alone.
        """
        if self.schema.task.answering == "likelihood":
            return self.renderer.texts([example.input for example in examples])
        if examples and examples[0].messages:
            return self.renderer.conversations([self._conversation(each) for each in examples], train="all")
        return self._pairs([(example, example.expected) for example in examples])

    def answers(self, pairs: Sequence[tuple[Example, str]]) -> list[Encoded]:
        """Each example with the given answer, marked from the answer's first token to the end token.

        Raises DataError where an answer cannot be scored, naming it.
        """
        encoded = self._pairs(pairs)
        for (example, answer), result in zip(pairs, encoded, strict=True):
            if isinstance(result, RowFault):
                raise DataError(f"row {example.id}: the answer {answer!r} cannot be scored: {result}")
        return [
            _until_stop(result, self.renderer.stop_ids) for result in encoded if isinstance(result, Encoded)
        ]

    def prompts(self, examples: Sequence[Example]) -> list[list[int]]:
        """Each example as a prompt that waits for the answer. Raises DataError for one that cannot be."""
        if self.prompt.style == "cloze":
            encoded = self.renderer.plains([(self._cloze(example), " ?") for example in examples])
            return [_before_answer(result) for result in encoded]
        return [self._prompt(example) for example in examples]

    def text(self, example: Example) -> str:
        """The whole prompt before the answer, for people to read."""
        if self.prompt.style == "cloze":
            return self._cloze(example)
        return self.renderer.prompt_text(self.turns(example))

    def turns(self, example: Example) -> tuple[Message, ...]:
        """The turns before the answer: demonstrations as earlier turns, then the question."""
        if example.messages:
            return self._conversation(example)[:-1]
        turns: list[Message] = []
        for shown, words in self._shown(example):
            turns += [Message("user", words), Message("assistant", shown.expected)]
        return (*turns, Message("user", self._question(example, first=not turns)))

    def _conversation(self, example: Example) -> tuple[Message, ...]:
        """A conversation with its answer; the instruction goes to the system, demonstrations stand before."""
        said = [turn.content for turn in example.messages if turn.role == "system"]
        system = paragraphs(self.instruction, *said)
        opening = [Message("system", system)] if system else []
        shown = [turn for each in self._demonstrations(example) for turn in _spoken(each)]
        return (*opening, *shown, *_spoken(example))

    def _prompt(self, example: Example) -> list[int]:
        try:
            return self.renderer.prompt(self.turns(example))
        except RowFault as fault:
            raise DataError(f"row {example.id}: the prompt cannot be worded: {fault}") from fault

    def _pairs(self, pairs: Sequence[tuple[Example, str]]) -> list[Encoded | RowFault]:
        if self.prompt.style == "cloze":
            return self.renderer.plains([(self._cloze(example), f" {answer}") for example, answer in pairs])
        turns = {example: self.turns(example) for example in dict.fromkeys(asked for asked, _ in pairs)}
        conversations = [(*turns[example], Message("assistant", answer)) for example, answer in pairs]
        return self.renderer.conversations(conversations, train="last")

    def _cloze(self, example: Example) -> str:
        shown = [f"{words} {shown.expected}" for shown, words in self._shown(example)]
        return "\n\n".join([*shown, self._question(example, first=not shown)])

    def _shown(self, example: Example) -> list[tuple[Example, str]]:
        """The demonstrations, each with its question in words."""
        demonstrations = self._demonstrations(example)
        return [(shown, self._question(shown, first=not place)) for place, shown in enumerate(demonstrations)]

    def _question(self, example: Example, first: bool) -> str:
        """Instruction and labels are said once, with the first question of a prompt."""
        instruction, labels = (self.instruction, self.schema.labels) if first else ("", ())
        return self.schema.task.question(example, self.prompt.style, instruction, labels)

    def _demonstrations(self, example: Example) -> Sequence[Example]:
        if self.prompt.draw is None:
            return self.prompt.demonstrations
        if self.nearest is not None:
            places = self.nearest(_asked(example), self.prompt.draw)
            return [self.prompt.demonstrations[place] for place in places]
        return random.Random(_asked(example)).sample(self.prompt.demonstrations, self.prompt.draw)


class Reading:
    """Words examples for a base that only reads them: no answer, nothing to train."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def encode(self, examples: Sequence[Example]) -> list[Encoded | RowFault]:
        return list(self.reader.rows([example.input for example in examples]))


def _spoken(example: Example) -> Sequence[Message]:
    """The turns of user and assistant."""
    if not example.messages:
        return Message("user", example.input), Message("assistant", example.expected)
    return [turn for turn in example.messages if turn.role != "system"]


def _asked(example: Example) -> str:
    """What decides the drawn demonstrations: the input, so that a served row gets those it was judged by."""
    return example.id.removeprefix(CONTENT_FREE) if example.id.startswith(CONTENT_FREE) else example.input


def content_free(example: Example) -> Example:
    """The same question about nothing: what an answer is worth before the input is read.

    Its id keeps the input, by which demonstrations are drawn: the same ones stand before it.
    Contextual calibration, Zhao et al. 2021 (arXiv:2102.09690), §5.
    """
    return replace(example, id=CONTENT_FREE + example.input, input="N/A")


def _until_stop(encoded: Encoded, stop_ids: frozenset[int]) -> Encoded:
    """Without what the template prints after the token that ends the answer: nobody waits for that."""
    last = max(index for index, trained in enumerate(encoded.trained) if trained)
    first = next(index for index, trained in enumerate(encoded.trained) if trained)
    stops = [index for index in range(first, last + 1) if encoded.tokens[index] in stop_ids]
    end = stops[-1] + 1 if stops else last + 1
    return Encoded(encoded.tokens[:end], encoded.trained[:end])


def _before_answer(encoded: Encoded | RowFault) -> list[int]:
    if isinstance(encoded, RowFault):
        raise DataError(f"the prompt cannot be worded: {encoded}")
    return encoded.tokens[: encoded.trained.index(True)]
